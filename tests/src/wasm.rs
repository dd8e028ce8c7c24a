//! Components made to order, for what no compiler would make.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::fixtures;

/// A component from its text.
#[must_use]
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The smallest component of the world `transform`, with more items in its core module. It describes itself as
/// nothing, and breaks off in `before` and `after`.
#[must_use]
pub fn transform(items: &str) -> Vec<u8> {
    transform_configured_by("", items)
}

/// The same, which does something when it is configured.
#[must_use]
pub fn transform_configured_by(configure: &str, items: &str) -> Vec<u8> {
    transform_of(BEFORE | AFTER, configure, ["unreachable"; 2], items)
}

/// Where a transform of [`transform_that_tells`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// In `before`.
    Before,
    /// In `after`, and it has no `before`.
    OnlyAfter,
    /// In `after`; its `before` hands on the tensors of a model that takes `x` FP32 [-1, 2].
    After,
}

/// One that answers 1 where it is told of the request there, else 0.
#[must_use]
pub fn transform_that_tells(teller: Teller, is_told: bool) -> Vec<u8> {
    // A payload of JSON: its kind, and its text's place and length.
    let payload = |at: u32, text: u32, length: usize| {
        format!("(i32.store (i32.const {}) (i32.const {text})) (i32.store (i32.const {}) (i32.const {length}))", at + 4, at + 8)
    };
    // At 300 the result that is well, then what it holds; of a step first its kind.
    let tell = "(i32.store8 (i32.const 400) (i32.add (i32.const 48) (local.get 0)))";
    let answer = format!("(i32.store8 (i32.const 304) (i32.const 1)) {} {tell} (i32.const 300)", payload(308, 400, 1));
    let proceed = format!("{} (i32.const 300)", payload(308, 500, TENSORS.len()));
    let after = format!("{} {tell} (i32.const 300)", payload(304, 400, 1));
    let (hooks, before, after) = match teller {
        Teller::Before => (BEFORE, answer.as_str(), "unreachable"),
        Teller::OnlyAfter => (AFTER, "unreachable", after.as_str()),
        Teller::After => (BEFORE | AFTER, proceed.as_str(), after.as_str()),
    };
    let tensors = format!("(data (i32.const 500) \"{}\")", TENSORS.replace('"', "\\\""));
    transform_of(hooks | if is_told { REQUEST } else { 0 }, "", [before, after], &tensors)
}

/// For a model that takes `x` FP32 [-1, 2].
const TENSORS: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;

/// Bits of `hooks`.
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
const REQUEST: u8 = 4;

fn transform_of(hooks: u8, configure: &str, [before, after]: [&str; 2], items: &str) -> Vec<u8> {
    let smallest =
        SMALLEST.replace("HOOKS", &format!("\\{hooks:02x}")).replace("BEFORE", before).replace("AFTER", after).replace("CONFIGURE", configure);
    let mut module = component(&format!("(module {smallest} {items})"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(fixtures::workspace().join("wit")).expect("`wit/` can be read");
    let world = resolve.select_world(&[package], Some("transform")).expect("the world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module takes metadata");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module of the world");
    encoder.encode().expect("a component")
}

/// `configure` answers at 8; `describe` the record at 16, all zeros but the hooks, 8 bytes in.
const SMALLEST: &str = r#"
    (memory (export "memory") 1)
    (data (i32.const 24) "HOOKS")
    (global $free (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 3))))
    (func (export "bulkhead:plugin/transformer@0.1.0#describe") (result i32) (i32.const 16))
    (func (export "bulkhead:plugin/transformer@0.1.0#configure") (param i32 i32) (result i32) CONFIGURE (i32.const 8))
    (func (export "bulkhead:plugin/transformer@0.1.0#before")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32) BEFORE)
    (func (export "bulkhead:plugin/transformer@0.1.0#after")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32) AFTER)
"#;
