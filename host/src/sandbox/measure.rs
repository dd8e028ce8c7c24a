//! Goes through an uploaded component once and measures everything in it. Whether it is valid, the compiler's process finds
//! out: this only reads, in time that grows with the bytes and never faster.

use wasmparser::{BinaryReaderError, Encoding, FunctionBody, Operator, Parser, Payload};

use super::admission::{AdmissionLimits, Refused};

/// Bytes of a page of memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Checks the outside of a component, and the size of everything in it.
///
/// # Errors
/// [`Refused::NotAComponent`], [`Refused::Malformed`] and [`Refused::OverLimits`], with what came and what is taken.
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
    let mut seen = Seen::default();
    for (at, payload) in Parser::new(0).parse_all(bytes).enumerate() {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if at == 0 => {
                return Err(Refused::NotAComponent(
                    "a core module: make a component of it with `bulkhead plugin build` or `wasm-tools component new`".to_owned(),
                ));
            }
            payload => seen.add(payload, &limits)?,
        }
    }
    Ok(())
}

/// What there was so far.
#[derive(Default)]
struct Seen {
    modules: u32,
    components: u32,
    functions: u32,
    imports: usize,
    memories: u32,
    data_bytes: u64,
    custom_bytes: u64,
}

impl Seen {
    fn add(&mut self, payload: Payload<'_>, limits: &AdmissionLimits) -> Result<(), Refused> {
        match payload {
            Payload::ModuleSection { .. } => {
                self.modules += 1;
                over("core modules", self.modules, limits.modules)
            }
            Payload::ComponentSection { .. } => {
                self.components += 1;
                over("components within", self.components, limits.modules)
            }
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(count);
                over("functions", self.functions, limits.functions)
            }
            Payload::CodeSectionEntry(body) => function(&body, limits),
            Payload::ComponentImportSection(section) => {
                self.imports += section.count() as usize;
                over("imports", self.imports, limits.imports)
            }
            Payload::ImportSection(section) => over("imports in one core module", section.count(), limits.module_imports),
            Payload::MemorySection(section) => {
                self.memories = self.memories.saturating_add(section.count());
                over("memories", self.memories, limits.memories)?;
                for memory in section {
                    let bytes = memory.map_err(malformed)?.initial.saturating_mul(PAGE_BYTES);
                    over("bytes in a memory at its start", bytes, limits.memory_bytes)?;
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section {
                    over("elements in a table at its start", table.map_err(malformed)?.ty.initial, limits.table_elements)?;
                }
                Ok(())
            }
            Payload::DataSection(section) => {
                self.data_bytes = self.data_bytes.saturating_add(section.range().len() as u64);
                over("bytes of data", self.data_bytes, limits.data_bytes)
            }
            Payload::CustomSection(section) => {
                self.custom_bytes = self.custom_bytes.saturating_add(section.range().len() as u64);
                over("bytes of custom sections, such as debugging information", self.custom_bytes, limits.custom_bytes)
            }
            _ => Ok(()),
        }
    }
}

fn function(body: &FunctionBody<'_>, limits: &AdmissionLimits) -> Result<(), Refused> {
    let size = u32::try_from(body.range().len()).unwrap_or(u32::MAX);
    over("bytes in one function", size, limits.function_bytes)?;
    let mut locals = 0u64;
    for group in body.get_locals_reader().map_err(malformed)? {
        locals += u64::from(group.map_err(malformed)?.0);
    }
    over("locals in one function", locals, limits.locals)?;
    for operator in body.get_operators_reader().map_err(malformed)? {
        if let Operator::BrTable { targets } = operator.map_err(malformed)? {
            over("targets in one branch", targets.len(), limits.branch_targets)?;
        }
    }
    Ok(())
}

fn malformed(error: BinaryReaderError) -> Refused {
    Refused::Malformed(error.to_string())
}

fn over<N: PartialOrd + std::fmt::Display>(what: &str, has: N, most: N) -> Result<(), Refused> {
    if has > most { Err(Refused::OverLimits(format!("it has {has} {what}, at most {most} are taken"))) } else { Ok(()) }
}
