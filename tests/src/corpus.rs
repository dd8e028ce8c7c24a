//! Files of WebAssembly text that a test reads: a header that says what is expected, and a module with what differs from the
//! smallest plugin. `tests/cases/hostile/README.md` describes the form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::fixtures;

/// A file.
#[derive(Debug)]
pub struct WatFile {
    /// Its name without the ending.
    pub name: String,
    header: BTreeMap<String, String>,
    text: String,
}

/// Names of functions, by what stands for them in a file, with their parameters and results.
const SIGNATURES: [(&str, &str); 9] = [
    ("{memory}", r#"(export "memory")"#),
    ("{realloc}", r#"(export "cabi_realloc") (param i32 i32 i32 i32) (result i32)"#),
    ("{configure}", r#"(export "FACE#configure") (param i32 i32) (result i32)"#),
    ("{describe}", r#"(export "FACE#describe") (result i32)"#),
    ("{before}", r#"(export "FACE#before") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32)"#),
    ("{after}", r#"(export "FACE#after") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32)"#),
    ("{predict}", r#"(export "FACE#predict") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32)"#),
    ("{post-before}", r#"(export "cabi_post_FACE#before") (param i32)"#),
    ("{post-predict}", r#"(export "cabi_post_FACE#predict") (param i32)"#),
];

/// What a file need not say, by what it says otherwise. `configure` answers at 8 that all is well; `describe` the record at
/// 16, all zeros but the hooks, 8 bytes in: `before` alone.
const TRANSFORM: [(&str, &str); 6] = [
    ("{memory}", "(memory {memory} 1)"),
    ("{realloc}", REALLOC),
    ("{configure}", "(func {configure} (i32.const 8))"),
    ("{describe}", r#"(data (i32.const 24) "\01") (func {describe} (i32.const 16))"#),
    ("{before}", "(func {before} unreachable)"),
    ("{after}", "(func {after} unreachable)"),
];

/// The same of a predictor, which takes and gives bodies of its own.
const PREDICTOR: [(&str, &str); 5] = [
    ("{memory}", "(memory {memory} 1)"),
    ("{realloc}", REALLOC),
    ("{configure}", "(func {configure} (i32.const 8))"),
    ("{describe}", "(func {describe} (i32.const 16))"),
    ("{predict}", "(func {predict} unreachable)"),
];

/// One piece after the other, from 1024 on.
const REALLOC: &str = "(global $free (mut i32) (i32.const 1024))
    (func {realloc}
        (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 3))))";

impl WatFile {
    /// All files of a folder, by name.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("`{}`: {error}", folder.display()));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "wat"));
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
        Self::of(&path.file_stem().expect("a name").to_string_lossy(), &text)
    }

    /// The same from a text that is no file.
    #[must_use]
    pub fn of(name: &str, text: &str) -> Self {
        let lines = text.lines().map_while(|line| line.strip_prefix(";; ")).filter_map(|line| line.split_once(": "));
        let header = lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        Self { name: name.to_owned(), header, text: text.to_owned() }
    }

    /// What the header says under a key; empty where it says nothing.
    #[must_use]
    pub fn says(&self, key: &str) -> &str {
        self.header.get(key).map_or("", String::as_str)
    }

    /// What is a predictor; else a transform.
    #[must_use]
    pub fn is_predictor(&self) -> bool {
        self.says("world") == "predictor"
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let text = repeated(&self.text).replace("{mebibyte}", &"x".repeat(1 << 20));
        if text.contains("(component") {
            return self.parsed(&text);
        }
        let (world, face, parts): (_, _, &[_]) = match self.is_predictor() {
            true => ("predictor", "bulkhead:plugin/prediction@0.1.0", &PREDICTOR),
            false => ("transform", "bulkhead:plugin/transformer@0.1.0", &TRANSFORM),
        };
        let missing = parts.iter().filter(|(name, _)| !text.contains(name)).map(|(_, part)| *part);
        // Imports come first in a module.
        let mut module = format!("(module {text} {})", missing.collect::<Vec<_>>().join("\n"));
        for (name, signature) in SIGNATURES {
            module = module.replace(name, signature);
        }
        encoded(self.parsed(&module.replace("FACE", face)), world)
    }

    fn parsed(&self, text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap_or_else(|error| panic!("`{}`: {error}", self.name))
    }
}

/// A component of a core module: one of the project's world, which may use some of WASI too.
fn encoded(mut module: Vec<u8>, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(fixtures::workspace().join("wit")).expect("`wit/` can be read");
    let package = resolve.push_file(fixtures::workspace().join("tests/cases/hostile/worlds.wit")).expect("the worlds of hostile components");
    let world = resolve.select_world(&[package], Some(world)).expect("the world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module takes metadata");
    let mut encoder = ComponentEncoder::default().validate(false).module(&module).unwrap_or_else(|error| panic!("{error:#}"));
    encoder.encode().unwrap_or_else(|error| panic!("{error:#}"))
}

/// `{repeat 3}x{i} {end}` is `x0 x1 x2 `; one does not stand in another.
fn repeated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{repeat ") {
        let (count, after) = after.split_once('}').expect("`{repeat N}`");
        let (what, after) = after.split_once("{end}").expect("`{end}`");
        out.push_str(before);
        for at in 0..count.parse::<u32>().expect("a number of times") {
            out.push_str(&what.replace("{i}", &at.to_string()));
        }
        rest = after;
    }
    out + rest
}
