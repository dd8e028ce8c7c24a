//! What a component may import. Everything that is linked is listed here.

pub(super) mod log;
pub(super) mod nn;
pub(super) mod wasi;

use wasmtime::component::{HasSelf, Linker};

use super::bindings;
use super::store::Ctx;
use super::world::World;

/// Interfaces that any component may import: no capability is behind them.
const GRANTED: [&str; 2] = ["bulkhead:plugin/log@", "bulkhead:plugin/types@"];

/// Links all of it.
///
/// # Errors
/// Where two of them define the same name.
pub(super) fn link(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    bindings::bulkhead::plugin::log::add_to_linker::<_, HasSelf<_>>(linker, |ctx| &mut ctx.log)?;
    bindings::bulkhead::plugin::types::add_to_linker::<_, HasSelf<_>>(linker, |ctx| &mut ctx.log)?;
    nn::link(linker)?;
    wasi::link(linker)
}

/// Whether a component of that world may import an interface.
pub(super) fn is_granted(world: World, import: &str) -> bool {
    GRANTED.iter().any(|granted| import.starts_with(granted)) || wasi::is_granted(import) || (world == World::Predictor && nn::is_it(import))
}
