//! Components as files: what is in one, and how a core module becomes one.

use std::path::Path;

use anyhow::Context as _;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem};

use bulkhead::sandbox::World;

/// The custom section that holds a version, as other tools of the component model read it too.
const VERSION_SECTION: &str = "version";

/// What a host gives every plugin; WASI reaches nothing there.
const GRANTED: [(&str, &str); 7] = [
    ("bulkhead:plugin/", "@0.1."),
    ("wasi:io/", "@0.2."),
    ("wasi:cli/", "@0.2."),
    ("wasi:clocks/", "@0.2."),
    ("wasi:random/", "@0.2."),
    ("wasi:filesystem/", "@0.2."),
    ("wasi:sockets/", "@0.2."),
];

/// A component seen from outside.
#[derive(Debug, serde::Serialize)]
pub(super) struct Inspection {
    pub(super) world: Option<&'static str>,
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
    pub(super) version: Option<String>,
    /// Why a host would refuse it.
    pub(super) refused: Option<String>,
}

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))
}

/// Makes a component of a core module; a component stays what it is. Either way it is marked with its version.
pub(super) fn make(module: &[u8], version: &str) -> anyhow::Result<Vec<u8>> {
    let mut component =
        if Parser::is_component(module) { module.to_vec() } else { ComponentEncoder::default().validate(true).module(module)?.encode()? };
    if stamped_version(&component).is_none() {
        component.extend(custom_section(VERSION_SECTION, version.as_bytes()));
    }
    Ok(component)
}

/// Looks at a component from outside.
pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Inspection> {
    anyhow::ensure!(bytes.starts_with(b"\0asm"), "no WebAssembly");
    anyhow::ensure!(
        Parser::is_component(bytes),
        "a core module, not a component: make one with `bulkhead plugin build` or `wasm-tools component new`"
    );
    let DecodedWasm::Component(resolve, world) = wit_component::decode(bytes)? else {
        anyhow::bail!("a package of WIT, not a component with code");
    };
    let world = &resolve.worlds[world];
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let known = World::ALL.into_iter().find(|known| exports.iter().any(|export| export.starts_with(release(*known))));
    let functions = known.map(|known| functions(&resolve, world, known)).unwrap_or_default();
    let refused = refusal(known, &functions, &exports, &imports);
    Ok(Inspection { world: known.map(World::name), refused, version: stamped_version(bytes), exports, imports })
}

/// Whether it is no plugin, but what `plugin run` runs.
pub(super) fn is_program(seen: &Inspection) -> bool {
    seen.world.is_none() && seen.exports.iter().any(|export| export.starts_with("wasi:cli/run@0.2."))
}

/// The interface that tells a world, without its patch version: those are compatible.
fn release(world: World) -> &'static str {
    let interface = world.interface();
    interface.rfind('.').map_or(interface, |at| &interface[..=at])
}

/// What a component's interface has of a world.
fn functions(resolve: &Resolve, component: &wit_parser::World, known: World) -> Vec<String> {
    let is_it = |key| resolve.name_world_key(key).starts_with(release(known));
    let items = component.exports.iter().filter(|(key, _)| is_it(key));
    let interfaces = items.filter_map(|(_, item)| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    });
    interfaces.flat_map(|id| resolve.interfaces[id].functions.keys().cloned()).collect()
}

fn refusal(known: Option<World>, functions: &[String], exports: &[String], imports: &[String]) -> Option<String> {
    let Some(known) = known else {
        let wanted: Vec<_> = World::ALL.iter().map(|world| format!("`{}x` (world `{}`)", release(*world), world.name())).collect();
        let got = if exports.is_empty() { "nothing".to_owned() } else { format!("`{}`", exports.join("`, `")) };
        return Some(format!("it exports {got}, expected {}: is there a `bulkhead_sdk::transform!(…)` or `predictor!(…)`?", wanted.join(" or ")));
    };
    if let Some(missing) = known.functions().iter().find(|wanted| !functions.iter().any(|function| function == *wanted)) {
        return Some(format!("its world `{}` lacks `{missing}`: build it with the SDK of this version", known.name()));
    }
    let granted =
        |import: &&String| GRANTED.into_iter().chain(known.grantable()).any(|(start, version)| import.starts_with(start) && import.contains(version));
    let denied = imports.iter().find(|import| !granted(import))?;
    Some(format!("it imports `{denied}`, which can't be granted to a {}", known.name()))
}

/// The version that a component is marked with.
pub(super) fn stamped_version(component: &[u8]) -> Option<String> {
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            // The outermost end is the last payload.
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == VERSION_SECTION => {
                return String::from_utf8(section.data().to_vec()).ok();
            }
            _ => {}
        }
    }
    None
}

fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    let mut section = vec![0];
    section.extend(leb128(content.len()));
    section.extend(content);
    section
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component of nothing.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_version_is_written_and_read() {
        let version = format!("1.0.0+{}", "x".repeat(200));
        let component = make(EMPTY, &version).unwrap();
        assert_eq!(stamped_version(&component), Some(version));
        assert_eq!(stamped_version(EMPTY), None);
        assert_eq!(make(&component, "2.0.0").unwrap(), component, "marked only once");
        wasmparser::validate(&component).unwrap();
    }

    #[test]
    fn refusals_say_what_was_expected() {
        let refused = |exports: &[&str], imports: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            let world = exports.first().map(|_| World::Transform);
            refusal(world, &owned(World::Transform.functions()), &owned(exports), &owned(imports))
        };
        let transformer = "bulkhead:plugin/transformer@0.1.0";
        assert_eq!(refused(&[transformer], &["bulkhead:plugin/log@0.1.0", "wasi:cli/stderr@0.2.6"]), None);
        let message = refused(&[transformer], &["wasi:http/outgoing-handler@0.2.6"]).unwrap();
        assert_eq!(message, "it imports `wasi:http/outgoing-handler@0.2.6`, which can't be granted to a transform");
        let nn = "wasi:nn/graph@0.2.0-rc-2024-10-28";
        assert_eq!(refused(&[transformer], &[nn]).unwrap(), format!("it imports `{nn}`, which can't be granted to a transform"));
        let predictor = |imports: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
            refusal(Some(World::Predictor), &owned(World::Predictor.functions()), &owned(&["bulkhead:plugin/prediction@0.1.0"]), &owned(imports))
        };
        assert_eq!(predictor(&[nn, "bulkhead:plugin/log@0.1.0"]), None);
        assert!(predictor(&["wasi:nn/graph@0.2.0-rc-2024-08-19"]).is_some(), "drafts are not compatible");
        let older = refusal(Some(World::Transform), &["configure".to_owned(), "describe".to_owned()], &[], &[]).unwrap();
        assert_eq!(older, "its world `transform` lacks `before`: build it with the SDK of this version");
        assert!(refused(&[], &[]).unwrap().starts_with(
            "it exports nothing, expected `bulkhead:plugin/transformer@0.1.x` (world `transform`) or `bulkhead:plugin/prediction@0.1.x`"
        ));
    }

    #[test]
    fn what_is_no_component_is_said() {
        for (bytes, expected) in [(&b"PK"[..], "no WebAssembly"), (b"\0asm\x01\0\0\0", "a core module")] {
            let error = inspect(bytes).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
