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
pub fn check(bytes: &[u8], limits: AdmissionLimits) -> Result<(), Refused> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FEW: AdmissionLimits = AdmissionLimits {
        component_bytes: 1 << 20,
        functions: 12,
        function_bytes: 40,
        locals: 20,
        branch_targets: 5,
        modules: 3,
        imports: 4,
        module_imports: 4,
        memories: 2,
        memory_bytes: 10 * PAGE_BYTES,
        table_elements: 10,
        data_bytes: 64,
        custom_bytes: 64,
    };

    fn number(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
        out.push(id);
        number(content.len() as u64, out);
        out.extend_from_slice(content);
    }

    /// A module: functions with so many locals, memories of so many pages, and a custom section.
    #[derive(Debug, Clone)]
    struct Made {
        functions: Vec<u32>,
        pages: Vec<u32>,
        custom: usize,
    }

    impl Made {
        fn bytes(&self) -> Vec<u8> {
            let mut out = b"\0asm\x01\0\0\0".to_vec();
            section(1, &[1, 0x60, 0, 0], &mut out);
            let mut types = Vec::new();
            number(self.functions.len() as u64, &mut types);
            types.extend(self.functions.iter().map(|_| 0));
            section(3, &types, &mut out);
            let mut memories = Vec::new();
            number(self.pages.len() as u64, &mut memories);
            for pages in &self.pages {
                memories.push(0);
                number(u64::from(*pages), &mut memories);
            }
            section(5, &memories, &mut out);
            let mut code = Vec::new();
            number(self.functions.len() as u64, &mut code);
            for locals in &self.functions {
                let mut body = vec![1];
                number(u64::from(*locals), &mut body);
                body.extend([0x7f, 0x0b]);
                number(body.len() as u64, &mut code);
                code.extend(body);
            }
            section(10, &code, &mut out);
            section(0, &[[1, b'c'].as_slice(), &vec![0; self.custom]].concat(), &mut out);
            out
        }
    }

    fn component(modules: &[Made]) -> Vec<u8> {
        let mut out = b"\0asm\x0d\0\x01\0".to_vec();
        for module in modules {
            section(1, &module.bytes(), &mut out);
        }
        out
    }

    fn module() -> impl Strategy<Value = Made> {
        let functions = prop::collection::vec(prop_oneof![9 => 0u32..22, 1 => any::<u32>()], 0..8);
        (functions, prop::collection::vec(0u32..12, 0..3), 0usize..50).prop_map(|(functions, pages, custom)| Made { functions, pages, custom })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn what_is_over_a_limit_is_refused_and_nothing_else(modules in prop::collection::vec(module(), 0..5)) {
            let fits = modules.len() <= 3
                && modules.iter().map(|module| module.functions.len()).sum::<usize>() <= 12
                && modules.iter().flat_map(|module| &module.functions).all(|locals| *locals <= 20)
                && modules.iter().map(|module| module.pages.len()).sum::<usize>() <= 2
                && modules.iter().flat_map(|module| &module.pages).all(|pages| *pages <= 10)
                // Its name takes two bytes.
                && modules.iter().map(|module| module.custom + 2).sum::<usize>() <= 64;
            match check(&component(&modules), FEW) {
                Ok(()) => prop_assert!(fits),
                Err(Refused::OverLimits(_)) => prop_assert!(!fits),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn whatever_comes_is_measured_or_refused(
            modules in prop::collection::vec(module(), 1..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = component(&modules);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(end.index(bytes.len()) + 1);
            let _ = check(&bytes, FEW);
        }

        #[test]
        fn no_other_bytes_are_a_component(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(bytes.starts_with(b"\0asm") || matches!(check(&bytes, FEW), Err(Refused::NotAComponent(_))));
        }
    }
}
