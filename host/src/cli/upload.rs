//! Files on their way to the host: streamed from disk, with a progress bar where a person watches.

use std::path::Path;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::io::ReaderStream;

/// Read at once: fewer system calls than the default, and still smooth to look at.
const CHUNK_BYTES: usize = 64 << 10;

/// A file about to be sent.
pub(super) struct Upload {
    pub(super) body: reqwest::Body,
    pub(super) len: u64,
    pub(super) bar: ProgressBar,
}

impl Upload {
    pub(super) async fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = tokio::fs::File::open(path).await.with_context(|| format!("`{shown}` can't be read"))?;
        let metadata = file.metadata().await.with_context(|| format!("`{shown}` can't be read"))?;
        anyhow::ensure!(metadata.is_file(), "`{shown}` is no file");
        let len = metadata.len();
        // Draws nothing where stderr is no terminal.
        let bar = ProgressBar::new(len);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {msg}") {
            bar.set_style(style);
        }
        let counted = bar.clone();
        let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).inspect_ok(move |chunk| {
            counted.inc(chunk.len() as u64);
            if counted.position() >= len {
                counted.set_message("sent, the host is checking it");
            }
        });
        Ok(Self { body: reqwest::Body::wrap_stream(chunks), len, bar })
    }
}
