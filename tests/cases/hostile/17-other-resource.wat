;; case: 17
;; does: takes a tensor for a graph
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context" (func $context (param i32 i32)))(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func $make (param i32 i32 i32 i32 i32) (result i32)))
(func {predict}
    (call $context (call $make (i32.const 2000) (i32.const 1) (i32.const 4) (i32.const 400) (i32.const 1)) (i32.const 2000))
    (loop br 0)
    unreachable)
