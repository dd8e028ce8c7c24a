//! Signatures on plugins and models: what is signed, by which key, and whether a signature fits. Knows no tenant: whose keys
//! count is for `trust/` to say. The host checks with it, and the command line signs.

mod key;
#[cfg(test)]
mod properties;
mod signature;
mod statement;

pub use key::{KeyError, KeyId, PublicKey, SecretKey};
pub use signature::{MalformedSignature, Signature};
pub use statement::Statement;
