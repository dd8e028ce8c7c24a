//! Generated from `wit/`; nothing else lives here.

#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "transform",
    imports: { default: trappable },
    exports: { default: async },
});

/// The world `predictor`; what it has in common with the other is one type.
pub mod predictor {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "predictor",
        imports: {
            default: trappable,
            "wasi:nn/graph.load": async | trappable,
            "wasi:nn/inference.[method]graph-execution-context.compute": async | trappable,
        },
        exports: { default: async },
        with: {
            "bulkhead:plugin/types": super::bulkhead::plugin::types,
            "bulkhead:plugin/log": super::bulkhead::plugin::log,
            "wasi:nn/tensor.tensor": crate::sandbox::imports::nn::Tensor,
            "wasi:nn/graph.graph": crate::sandbox::imports::nn::Graph,
            "wasi:nn/inference.graph-execution-context": crate::sandbox::imports::nn::Context,
            "wasi:nn/errors.error": crate::sandbox::imports::nn::Error,
        },
    });
}
