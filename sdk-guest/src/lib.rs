//! What a Bulkhead plugin is written with.
//!
//! A transform is a struct, which is its configuration, and up to two functions:
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//!
//! /// Multiplies every input by a factor.
//! #[derive(Clone, Deserialize)]
//! struct Scale {
//!     factor: f32,
//! }
//!
//! impl Transform for Scale {
//!     fn before(&mut self, payload: Payload) -> Result<Step> {
//!         let mut tensors = payload.into_tensors()?;
//!         for value in tensors.get_mut("x")?.values_mut::<f32>()? {
//!             *value *= self.factor;
//!         }
//!         Ok(Step::Proceed(tensors.into()))
//!     }
//!
//!     fn describe(&self) -> Description {
//!         Description::new("Multiplies every input by a factor").hooks(Hooks::BEFORE)
//!     }
//! }
//!
//! bulkhead_sdk::transform!(Scale);
//! # fn main() {}
//! ```
//!
//! A predictor answers in place of a model, with models that it runs itself ([`Predictor`], [`Graph`]).
//!
//! The struct is read from the manifest when a model is loaded, not for each request. Each request works on a clone of
//! it in a sandbox of its own, so fields may carry what `before` learned to `after`: mark them `#[serde(skip)]`. What is large, such as
//! a vocabulary, stands behind an [`Rc`](std::rc::Rc) best, so that the clone shares it.
//!
//! Everything compiles natively too: plain `cargo test` runs [`testing::Exchange`].
//!
//! In a sandbox there is neither clock nor standard output: `std::time::Instant::now()` panics, `println!` goes nowhere,
//! and [`log`] is the way to say something. A panic is answered with status 502, without its message, which nothing in the
//! sandbox can write; return [`Error::internal`] where the caller is to read why. The stack has 128 KiB.

mod describe;
mod error;
pub mod glue;
#[cfg(target_family = "wasm")]
mod heap;
pub mod log;
mod nn;
mod payload;
mod predictor;
pub mod softmax;
mod tensor;
pub mod testing;

pub use describe::{Description, Hooks, PredictorDescription};
pub use error::{Error, Result};
pub use nn::Graph;
pub use payload::{Blob, Payload, Step, Tensors};
pub use predictor::Predictor;
pub use tensor::{Datatype, Element, Tensor};

/// Everything that a plugin usually names.
pub mod prelude {
    pub use crate::{Blob, Datatype, Description, Error, Graph, Hooks, Open, Payload, Predictor, PredictorDescription, Request, Result, Step};
    pub use crate::{Tensor, Tensors, Transform, log};
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{self, json};
}

/// Generated from `wit/`; the modules above are its face.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, unsafe_code, unreachable_pub)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "transform",
        pub_export_macro: true,
        default_bindings_module: "bulkhead_sdk::bindings",
    });

    /// Of the other world; what both have in common is one type.
    pub mod predictor {
        wit_bindgen::generate!({
            path: "../wit",
            world: "predictor",
            pub_export_macro: true,
            export_macro_name: "export_predictor",
            default_bindings_module: "bulkhead_sdk::bindings::predictor",
            with: {
                "bulkhead:plugin/types@0.1.0": crate::bindings::bulkhead::plugin::types,
                "bulkhead:plugin/log@0.1.0": crate::bindings::bulkhead::plugin::log,
                "wasi:nn/tensor@0.2.0-rc-2024-10-28": generate,
                "wasi:nn/graph@0.2.0-rc-2024-10-28": generate,
                "wasi:nn/inference@0.2.0-rc-2024-10-28": generate,
                "wasi:nn/errors@0.2.0-rc-2024-10-28": generate,
            },
        });
    }
}

/// The request as the plugin may know it: `id: String`, `model: String`, `version: String`, `time_left_us: u64`, and
/// those `headers: Vec<(String, String)>` (names in lower case) that the model's manifest lets through: by default none,
/// with `headers = ["accept-language"]` that one.
pub type Request = bindings::bulkhead::plugin::types::RequestInfo;

/// A decorator around a model: the configuration in the manifest, cloned for each request.
pub trait Transform: serde::de::DeserializeOwned + Clone + 'static {
    /// Turns the request into what comes further in; or answers it.
    ///
    /// # Errors
    /// [`Error::invalid`] tells the caller what is wrong with the request.
    fn before(&mut self, payload: Payload) -> Result<Step> {
        Ok(Step::Proceed(payload))
    }

    /// Turns what came from further in into the answer.
    ///
    /// # Errors
    /// [`Error::internal`] where the model's outputs are not what this transform was told of.
    fn after(&mut self, payload: Payload) -> Result<Payload> {
        Ok(payload)
    }

    /// What this transform does under this configuration; called when a model that uses it is loaded.
    fn describe(&self) -> Description;

    /// Refuses a configuration that deserializes but makes no sense. Called before anything else.
    ///
    /// # Errors
    /// The JSON pointer of the error points into the configuration.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What a [`Transform`] or [`Predictor`] also implements that looks at the request: the host tells the others nothing of it.
///
/// ```
/// use bulkhead_sdk::prelude::*;
///
/// /// Answers in the caller's language; the manifest says `headers = ["accept-language"]`.
/// #[derive(Clone, Deserialize)]
/// struct Greeter {
///     #[serde(skip)]
///     language: Option<String>,
/// }
///
/// impl Open for Greeter {
///     fn open(&mut self, request: Request) -> Result<()> {
///         self.language = request.headers.into_iter().find(|(name, _)| name == "accept-language").map(|(_, value)| value);
///         Ok(())
///     }
/// }
///
/// impl Transform for Greeter {
///     fn after(&mut self, payload: Payload) -> Result<Payload> {
///         let greeting = if self.language.as_deref() == Some("fr") { "bonjour" } else { "hello" };
///         Payload::from_json(&json!({ "greeting": greeting, "answer": payload.json::<serde_json::Value>()? }))
///     }
///
///     fn describe(&self) -> Description {
///         Description::new("Greets the caller").hooks(Hooks::AFTER)
///     }
/// }
///
/// bulkhead_sdk::transform!(Greeter);
/// # fn main() {}
/// ```
pub trait Open {
    /// Called before `before`, and where there is none before `after`, when the model has run; of a predictor before
    /// `predict`. Keep here what these need to know of the request.
    ///
    /// # Errors
    /// Refuses the request.
    fn open(&mut self, request: Request) -> Result<()>;
}

/// Makes a type that implements [`Transform`], and perhaps [`Open`], the component's export.
#[macro_export]
macro_rules! transform {
    ($transform:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::plugin!($transform);
            type BulkheadComponent = $crate::glue::Component<$transform>;
    $crate::bindings::export!(BulkheadComponent with_types_in $crate::bindings);
        };
    };
}

/// Makes a type that implements [`Predictor`], and perhaps [`Open`], the component's export.
#[macro_export]
macro_rules! predictor {
    ($predictor:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            $crate::plugin!($predictor);
            type BulkheadComponent = $crate::glue::PredictorComponent<$predictor>;
    $crate::bindings::predictor::export_predictor!(BulkheadComponent with_types_in $crate::bindings::predictor);
        };
    };
}

/// What both of them add to a type.
#[doc(hidden)]
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        ::std::thread_local! {
            static KEPT: $crate::glue::Kept<$plugin> = const { $crate::glue::Kept::new() };
        }
        impl $crate::glue::Plugin for $plugin {
            const KEPT: &'static ::std::thread::LocalKey<$crate::glue::Kept<Self>> = &KEPT;

            fn opener() -> ::std::option::Option<$crate::glue::Opener<Self>> {
                #[allow(unused_imports)]
                use $crate::glue::{Opens as _, OpensNothing as _};
                (&$crate::glue::Probe::<$plugin>(::std::marker::PhantomData)).opener()
            }
        }
    };
}
