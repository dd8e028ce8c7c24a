//! What an uploaded component must be before any of it is compiled.

use wasmparser::{Encoding, Parser, Payload};

/// Bounds of an upload. A compiler's time and memory grow faster than its input: the bounds on functions keep the
/// worst known inputs (tens of thousands of locals, megabytes in one function) from it.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Bytes of a component; the largest honest one, Python's interpreter, has 18 MiB.
    pub component_bytes: u64,
    /// Functions of all its modules; Python's interpreter has 13,000.
    pub functions: u32,
    /// Bytes of one function.
    pub function_bytes: u32,
    /// Locals of one function.
    pub locals: u64,
    /// Core modules within.
    pub modules: u32,
    /// Imports.
    pub imports: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self { component_bytes: 32 << 20, functions: 30_000, function_bytes: 512 << 10, locals: 5_000, modules: 64, imports: 200 }
    }
}

/// Why an upload is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something else than a component.
    #[error("expected a WebAssembly component, got {0}")]
    NotAComponent(String),
    /// Malformed, or a proposal that is switched off.
    #[error("the component is not valid: {0}")]
    Malformed(String),
    /// Larger than is taken.
    #[error("the component is over the limits: {0}")]
    OverLimits(String),
    /// It doesn't export what a plugin must.
    #[error("{0}")]
    WrongWorld(String),
    /// It asks for something that nobody gets.
    #[error("{0}")]
    Import(String),
    /// It can't be compiled, or not within the limits on time and memory.
    #[error("the component can't be compiled: {0}")]
    Compile(String),
    /// It was compiled, and failed when it was first started.
    #[error("the component failed when it was first started: {0}")]
    Smoke(String),
    /// All sandboxes were taken for so long that it could not be tried.
    #[error("all sandboxes are taken; try again in a moment")]
    Busy,
    /// The host's own fault.
    #[error("{0}")]
    Host(String),
}

/// Checks the outside of a component, and the size of everything in it.
pub(super) fn check(bytes: &[u8], limits: AdmissionLimits) -> Result<(), Refused> {
    if bytes.len() as u64 > limits.component_bytes {
        return Err(Refused::OverLimits(format!("it has {} bytes, at most {} are taken", bytes.len(), limits.component_bytes)));
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(Refused::NotAComponent("precompiled native code, which is never taken: upload the `.wasm` it was made from".to_owned()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refused::NotAComponent("bytes that are no WebAssembly".to_owned()));
    }
    let mut functions = 0u32;
    let mut modules = 0u32;
    let mut imports = 0usize;
    let malformed = |error: wasmparser::BinaryReaderError| Refused::Malformed(error.to_string());
    for (at, payload) in Parser::new(0).parse_all(bytes).enumerate() {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if at == 0 => {
                return Err(Refused::NotAComponent(
                    "a core module: make a component of it with `bulkhead plugin build` or `wasm-tools component new`".to_owned(),
                ));
            }
            Payload::ModuleSection { .. } => {
                modules += 1;
                over("core modules", modules, limits.modules)?;
            }
            Payload::CodeSectionStart { count, .. } => {
                functions = functions.saturating_add(count);
                over("functions", functions, limits.functions)?;
            }
            Payload::CodeSectionEntry(body) => {
                let size = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
                over("bytes in one function", size, limits.function_bytes)?;
                let mut locals = 0u64;
                for group in body.get_locals_reader().map_err(malformed)? {
                    locals += u64::from(group.map_err(malformed)?.0);
                }
                over("locals in one function", locals, limits.locals)?;
            }
            Payload::ComponentImportSection(section) => {
                imports += section.count() as usize;
                over("imports", imports, limits.imports)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn over<N: PartialOrd + std::fmt::Display>(what: &str, has: N, most: N) -> Result<(), Refused> {
    if has > most { Err(Refused::OverLimits(format!("it has {has} {what}, at most {most} are taken"))) } else { Ok(()) }
}
