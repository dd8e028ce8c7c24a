//! `plugin push`: one component, under a name and a version.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::component;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::model::Format;
use crate::cli::names::NameVersion;
use crate::cli::sign::{self, SignArgs};
use crate::cli::upload::Upload;
use crate::cli::{fields, out};

#[derive(Debug, Args)]
// `--version` is the plugin's here.
#[command(disable_version_flag = true)]
pub(crate) struct PushArgs {
    /// The component; its name and version stand before it, or follow from the file
    #[arg(value_name = "[NAME@VERSION] FILE", num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Name of the plugin [default: the file's name]
    #[arg(long)]
    name: Option<String>,

    /// Version of the plugin [default: the crate's, which `plugin build` writes into the file]
    #[arg(long)]
    version: Option<String>,

    #[command(flatten)]
    sign: SignArgs,

    #[command(flatten)]
    format: Format,
}

pub(super) async fn run(args: PushArgs, client: &Client) -> anyhow::Result<()> {
    let (version, path) = target(&args)?;
    let Upload { body, len, bar } = Upload::open(&path).await?;
    let url = client.url(&["v1", "plugins", &version.name, "versions", &version.version]);
    let request = client.request(Method::PUT, url).header(CONTENT_TYPE, "application/wasm").header(CONTENT_LENGTH, len).body(body);
    let request = args.sign.put_on(request, || sign::plugin(&version, &path))?;
    let sent = client.send(request).await;
    bar.finish_and_clear();
    let response = sent?;
    let is_new = response.status() != StatusCode::OK;
    let plugin: serde_json::Value = response.json().await.unwrap_or_default();
    if args.format.json {
        return out::json(&plugin);
    }
    let verb = if is_new { "pushed" } else { "already there:" };
    out::line(format_args!("{verb} {version} ({}, digest {})", fields::bytes(len), fields::digest(&plugin, "digest")))
}

/// Which version of which plugin, and its file.
fn target(args: &PushArgs) -> anyhow::Result<(NameVersion, PathBuf)> {
    match args.what.as_slice() {
        [version, file] if args.name.is_none() && args.version.is_none() => {
            let version = version.parse::<NameVersion>().map_err(|error| Failure::Usage(error.to_string()))?;
            Ok((version, file.into()))
        }
        [version, _] => {
            let message = format!("`{version}` already says name and version: leave `--name` and `--version` out");
            Err(Failure::Usage(message).into())
        }
        [file] => {
            let path = PathBuf::from(file);
            if !path.exists() && file.parse::<NameVersion>().is_ok() {
                return Err(Failure::Usage(format!("which file? Expected `{file} FILE`")).into());
            }
            let name = args.name.clone().or_else(|| stem(&path));
            let version = match &args.version {
                Some(version) => Some(version.clone()),
                None => component::stamped_version(&component::read(&path)?),
            };
            let (Some(name), Some(version)) = (name, version) else {
                let message = format!("`{file}` doesn't say which version it is: push `NAME@VERSION {file}`, or add `--version`");
                return Err(Failure::Usage(message).into());
            };
            let version = format!("{name}@{version}").parse().map_err(|error| Failure::Usage(format!("{error}")))?;
            Ok((version, path))
        }
        _ => Err(Failure::Usage("expected `[NAME@VERSION] FILE`".to_owned()).into()),
    }
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(what: &[&str], version: Option<&str>) -> anyhow::Result<(NameVersion, PathBuf)> {
        let what = what.iter().map(|&text| text.to_owned()).collect();
        target(&PushArgs { what, name: None, version: version.map(str::to_owned), sign: SignArgs::default(), format: Format { json: false } })
    }

    #[test]
    fn name_and_version_stand_before_the_file_or_follow_from_it() {
        let (version, path) = target_of(&["a@1.0.0", "x/b.wasm"], None).unwrap();
        assert_eq!((version.to_string().as_str(), path.to_str()), ("a@1.0.0", Some("x/b.wasm")));
        let (version, _) = target_of(&["x/b.wasm"], Some("2.0.0")).unwrap();
        assert_eq!(version.to_string(), "b@2.0.0");
        for (what, version) in [(&["a@1.0.0", "b.wasm"][..], Some("2.0.0")), (&["a@1.0.0"], None), (&["a", "b.wasm"], None)] {
            let error = target_of(what, version).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))), "{what:?}: {error}");
        }
    }
}
