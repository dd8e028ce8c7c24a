//! `predict`: one question to a model.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response};

use super::client::Client;
use super::names::Reference;
use super::{content_type, out};

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The model; without a version the one in production, or what its rollout says
    #[arg(value_name = "NAME[@VERSION]")]
    model: Reference,

    #[command(flatten)]
    input: Input,

    /// Content type of the body [default: by the file's ending]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// Show on stderr which version answered, and how long each part took
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Input {
    /// The question as JSON; `-` reads it from stdin
    #[arg(long, value_name = "TEXT")]
    json: Option<String>,

    /// The question as a file; `-` reads it from stdin
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

pub(super) async fn run(args: PredictArgs, client: &Client) -> anyhow::Result<()> {
    let (body, by_ending) = read(args.input).await?;
    let content_type = args.content_type.as_deref().unwrap_or(by_ending);
    let url = match &args.model.version {
        Some(version) => client.url(&["v1", "models", &args.model.name, "versions", version, "predict"]),
        None => client.url(&["v1", "models", &args.model.name, "predict"]),
    };
    let request = client.request(Method::POST, url).header(CONTENT_TYPE, content_type).body(body);
    let response = client.send(request).await?;
    if args.verbose {
        show_headers(response.headers());
    }
    answer(response).await
}

async fn read(input: Input) -> anyhow::Result<(Vec<u8>, &'static str)> {
    const JSON: &str = "application/json";
    match (input.json, input.file) {
        (Some(text), _) if text == "-" => Ok((stdin()?, JSON)),
        (Some(text), _) => Ok((text.into_bytes(), JSON)),
        (None, Some(path)) if path == Path::new("-") => Ok((stdin()?, content_type::of_body(&path))),
        (None, Some(path)) => {
            let body = tokio::fs::read(&path).await.with_context(|| format!("`{}` can't be read", path.display()))?;
            Ok((body, content_type::of_body(&path)))
        }
        (None, None) => anyhow::bail!("no question: give `--json` or `--file`"),
    }
}

fn stdin() -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    // Blocks the thread: there is nothing else to do meanwhile.
    std::io::stdin().lock().read_to_end(&mut body).context("stdin can't be read")?;
    Ok(body)
}

fn show_headers(headers: &HeaderMap) {
    for (name, value) in headers {
        if name.as_str().starts_with("x-bulkhead-") || name == "x-request-id" || name == "server-timing" {
            out::note(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
    }
}

/// The answer as it came; a text gets the line end that a terminal wants.
async fn answer(response: Response) -> anyhow::Result<()> {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = content_type.contains("json") || content_type.starts_with("text/");
    let mut body = response.bytes().await.context("the answer broke off")?.to_vec();
    if is_text && !body.ends_with(b"\n") {
        body.push(b'\n');
    }
    out::write(&body)
}
