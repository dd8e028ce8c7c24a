//! `plugin new`: a plugin that builds, passes its tests and can be deployed as it stands.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::sdk;
use crate::cli::failure::Failure;
use crate::cli::out;
use bulkhead::sandbox::World;

/// A file to write, and its template. Templates' names end in `.in`, lest cargo, git or an editor take them for what they
/// become.
type File = (&'static str, &'static str);

/// The same in each world.
const COMMON: [File; 2] =
    [("Cargo.toml", include_str!("../../../templates/plugin/Cargo.toml.in")), (".gitignore", include_str!("../../../templates/plugin/gitignore.in"))];

/// What a new plugin of a world is made of.
fn files(world: World) -> [File; 2] {
    match world {
        World::Transform => [
            ("README.md", include_str!("../../../templates/plugin/README.md.in")),
            ("src/lib.rs", include_str!("../../../templates/plugin/lib.rs.in")),
        ],
        World::Predictor => [
            ("README.md", include_str!("../../../templates/predictor/README.md.in")),
            ("src/lib.rs", include_str!("../../../templates/predictor/lib.rs.in")),
        ],
    }
}

/// What it does.
fn summary(world: World) -> &'static str {
    match world {
        World::Transform => "Rounds the numbers in JSON answers",
        World::Predictor => "Answers with the mean of what two models say",
    }
}

/// What a host takes as a name.
const NAME_CHARS: usize = 64;

/// Words that no crate can be called: keywords of Rust, and what cargo keeps for itself.
const RESERVED: &str = "\
    abstract alloc as async await become box break build bulkhead-sdk const continue core crate deps do dyn else \
    enum examples extern false final fn for gen if impl in incremental let loop macro match mod move mut override \
    priv proc_macro pub ref return self serde serde_json static std struct super test trait true try type typeof \
    unsafe unsized use virtual where while yield";

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Name of the plugin and its crate
    name: String,

    /// The folder to make [default: the name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// What it is: a `transform` goes around a model, a `predictor` answers with models that it runs itself
    #[arg(long, default_value = "transform", value_parser = worlds())]
    world: World,

    /// Use the SDK of a checkout in place of a copy
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

/// The worlds by their names.
fn worlds() -> impl TypedValueParser<Value = World> {
    PossibleValuesParser::new(World::ALL.map(World::name))
        .try_map(|name| World::ALL.into_iter().find(|world| world.name() == name).ok_or("no world of that name"))
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<()> {
    let folder = make(args)?;
    let shown = folder.display();
    let does = summary(args.world);
    out::line(format_args!("made {shown}: a {}. It {}{}", args.world.name(), does[..1].to_lowercase(), &does[1..]))?;
    let commands = ["cargo test", "bulkhead plugin build", &format!("bulkhead plugin push target/plugins/{}.wasm", args.name)];
    out::note(format_args!("\nnext:\n  cd {shown}\n  {}", commands.join("\n  ")));
    Ok(())
}

/// Makes the folder; answers with its path.
fn make(args: &NewArgs) -> anyhow::Result<PathBuf> {
    if let Err(why) = check(&args.name) {
        return Err(Failure::Usage(format!("`{}` can't be a plugin's name: {why}", args.name)).into());
    }
    let folder = args.dir.clone().unwrap_or_else(|| args.name.clone().into());
    let shown = folder.display();
    let is_empty = std::fs::read_dir(&folder).map(|mut entries| entries.next().is_none());
    anyhow::ensure!(is_empty.unwrap_or(!folder.exists()), "`{shown}` is there already, and not empty");
    let sdk = match &args.sdk {
        Some(path) => checkout(path)?,
        None => "bulkhead/sdk-guest".to_owned(),
    };
    for (path, template) in COMMON.into_iter().chain(files(args.world)) {
        let text = template.replace("{{name}}", &args.name).replace("{{sdk}}", &sdk).replace("{{description}}", summary(args.world));
        write(&folder.join(path), &text)?;
    }
    if args.sdk.is_none() {
        sdk::write(&folder.join("bulkhead"))?;
    }
    Ok(folder)
}

/// The SDK of a checkout, given its own folder or the checkout's.
fn checkout(path: &Path) -> anyhow::Result<String> {
    let folders = [path.to_owned(), path.join("sdk-guest")];
    let sdk = folders.iter().find(|folder| is_sdk(folder)).with_context(|| format!("no `bulkhead-sdk` in `{}`", path.display()))?;
    let sdk = sdk.canonicalize()?;
    let sdk = sdk.to_str().with_context(|| format!("`{}` is no UTF-8, which a `Cargo.toml` must be", sdk.display()))?;
    // As in a TOML string.
    Ok(sdk.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_sdk(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains("name = \"bulkhead-sdk\""))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let parents = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    parents.and_then(|()| std::fs::write(path, text)).with_context(|| format!("`{}` can't be written", path.display()))
}

/// Rules of a crate's name, and those of a plugin's.
fn check(name: &str) -> Result<(), String> {
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it must start with a small letter".to_owned());
    }
    if let Some(c) = name.chars().find(|&c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')) {
        return Err(format!("it holds small letters, digits, `-` and `_`, not `{}`", c.escape_debug()));
    }
    if name.len() > NAME_CHARS {
        return Err(format!("it is longer than {NAME_CHARS} characters"));
    }
    if RESERVED.split(' ').any(|word| word == name) {
        return Err("it means something else in Rust".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates() {
        for good in ["round", "round-numbers", "a", "x1_2-3", &"n".repeat(64)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "1st", "-x", "_x", "Round", "größe", "a b", "a.b", "a/b", "../a", "fn", "test", "core", &"n".repeat(65)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plugin_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let args = |sdk| NewArgs { name: "round-up".to_owned(), dir: Some(root.path().join("p")), world: World::Transform, sdk };
        make(&args(None)).unwrap();
        let read = |path: &str| std::fs::read_to_string(root.path().join("p").join(path)).unwrap();
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("round-up"));
        assert_eq!(manifest["dependencies"]["bulkhead-sdk"]["path"].as_str(), Some("bulkhead/sdk-guest"));
        assert!(read("bulkhead/sdk-guest/Cargo.toml").contains("bulkhead-sdk"));
        assert!(read("bulkhead/wit/transform.wit").contains("world transform"));
        assert!(read("bulkhead/wit/deps/nn/nn.wit").contains("package wasi:nn@"));
        for path in ["README.md", ".gitignore", "src/lib.rs", "Cargo.toml"] {
            assert!(!read(path).contains("{{"), "{path}");
        }
        let error = make(&args(None)).unwrap_err().to_string();
        assert!(error.ends_with("is there already, and not empty"), "{error}");
    }

    #[test]
    fn a_checkout_may_lend_its_sdk() {
        let root = tempfile::tempdir().unwrap();
        make(&NewArgs { name: "copy".to_owned(), dir: Some(root.path().join("copy")), world: World::Predictor, sdk: None }).unwrap();
        let sdk = Some(root.path().join("copy/bulkhead"));
        let folder = root.path().join("p");
        make(&NewArgs { name: "p".to_owned(), dir: Some(folder.clone()), world: World::Predictor, sdk }).unwrap();
        assert!(!folder.join("bulkhead").exists());
        let error = checkout(root.path()).unwrap_err().to_string();
        assert!(error.starts_with("no `bulkhead-sdk` in"), "{error}");
    }
}
