//! What an uploaded component must be, and why it is refused. Its size is measured in `measure.rs`, before any of it is
//! compiled.

/// Bounds of an upload. A compiler's time and memory grow faster than its input: the bounds on functions keep the
/// worst known inputs (tens of thousands of locals, megabytes in one function) from it. Those on memories, tables and
/// data are what a sandbox could not hold.
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
    /// Targets of one branch by table.
    pub branch_targets: u32,
    /// Core modules within, and components.
    pub modules: u32,
    /// Imports, of the component and of those within.
    pub imports: usize,
    /// Imports of one core module; Python's interpreter has some hundred.
    pub module_imports: u32,
    /// Memories that its modules define.
    pub memories: u32,
    /// Bytes that one memory begins with.
    pub memory_bytes: u64,
    /// Elements that one table begins with; the largest honest one seen, StarlingMonkey's, has 7,688.
    pub table_elements: u64,
    /// Bytes of data that memories begin with; Python's interpreter has 11 MiB.
    pub data_bytes: u64,
    /// Bytes of custom sections, which nothing here reads: names, and what debuggers want to know.
    pub custom_bytes: u64,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            component_bytes: 32 << 20,
            functions: 30_000,
            function_bytes: 512 << 10,
            locals: 5_000,
            branch_targets: 10_000,
            modules: 64,
            imports: 200,
            module_imports: 2_000,
            memories: 4,
            memory_bytes: 256 << 20,
            table_elements: 20_000,
            data_bytes: 16 << 20,
            custom_bytes: 8 << 20,
        }
    }
}

/// Why an upload is refused.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// Compiling it took so many seconds, by the clock; on a machine that has less to do it may go well.
    #[error("the component can't be compiled: it takes more than {0} seconds")]
    Slow(u64),
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

impl Refused {
    /// A short name for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotAComponent(_) => "not_a_component",
            Self::Malformed(_) => "invalid_component",
            Self::OverLimits(_) => "over_limits",
            Self::WrongWorld(_) => "wrong_world",
            Self::Import(_) => "import_not_granted",
            Self::Compile(_) | Self::Slow(_) => "compile_failed",
            Self::Smoke(_) => "start_failed",
            Self::Busy => "busy",
            Self::Host(_) => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        let page = include_str!("../../docs/plugin-limits.md");
        let limits = AdmissionLimits::default();
        for (what, most) in [
            ("bytes", limits.component_bytes),
            ("functions", limits.functions.into()),
            ("bytes of one function", limits.function_bytes.into()),
            ("locals of one function", limits.locals),
            ("targets of one branch by table", limits.branch_targets.into()),
            ("core modules; components within", limits.modules.into()),
            ("imports", limits.imports as u64),
            ("imports of one core module", limits.module_imports.into()),
            ("memories", limits.memories.into()),
            ("bytes that a memory begins with", limits.memory_bytes),
            ("elements that a table begins with", limits.table_elements),
            ("bytes of data", limits.data_bytes),
            ("bytes of custom sections", limits.custom_bytes),
        ] {
            let row = format!("| {what} | {most} ");
            assert!(page.contains(&row), "docs/plugin-limits.md lacks `{row}`");
        }
    }
}
