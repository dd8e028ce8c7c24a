//! `[auth]`, `[tls]`, `[audit]` and `[quotas]`: who may come in, what is kept of it, and how much one tenant may take.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_registry::Quotas;

use super::reader::Reader;

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Every request needs a credential.
    pub required: bool,
    /// Who signs tokens.
    pub issuer: String,
    /// Whom tokens must be for.
    pub audience: String,
    /// Where the keys of tokens come from.
    pub keys: Keys,
    /// The documentation is open to everybody.
    pub open_docs: bool,
    /// Failed attempts in a minute from one address, after which it is not listened to.
    pub failed_per_minute: NonZeroU32,
    /// Keys that one tenant may have issued in a minute.
    pub keys_per_minute: NonZeroU32,
    /// Keys of one tenant that are good at one time.
    pub keys_per_tenant: NonZeroU32,
}

/// Where the keys of tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// A secret that the host makes for itself.
    Development,
    /// Files.
    Files(Vec<PathBuf>),
    /// A set that the issuer publishes.
    Url(String),
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is kept of what was done.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Older rows go; none keeps all.
    pub retention: Option<Duration>,
}

pub(super) fn auth(reader: &mut Reader, folder: &Path) -> Auth {
    let required = reader.choice("auth.mode", &[("off", false), ("required", true)], false);
    let files = reader.texts("auth.key_files");
    let url = reader.optional_text("auth.jwks_url");
    let keys = match (files, url) {
        (Some(_), Some(_)) => {
            reader.mistake("`auth.key_files` and `auth.jwks_url`: keys come from one of both".to_owned());
            Keys::Development
        }
        (Some(files), None) => Keys::Files(files.iter().map(|file| folder.join(file)).collect()),
        (None, Some(url)) => {
            // Whoever answers in the issuer's place decides who comes in.
            let parsed = reqwest::Url::parse(&url).ok();
            let is_own = |url: &reqwest::Url| url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
            if !parsed.is_some_and(|url| url.scheme() == "https" || is_own(&url)) {
                reader.mistake(format!("`auth.jwks_url`: expected an address that begins with `https://`, got `{url}`"));
            }
            Keys::Url(url)
        }
        (None, None) => Keys::Development,
    };
    Auth {
        required,
        issuer: reader.text("auth.issuer", "bulkhead"),
        audience: reader.text("auth.audience", "bulkhead"),
        keys,
        open_docs: reader.boolean("auth.open_docs", false),
        failed_per_minute: count(reader, "auth.failed_per_minute", 60),
        keys_per_minute: count(reader, "auth.keys_per_minute", 60),
        keys_per_tenant: count(reader, "auth.keys_per_tenant", 1000),
    }
}

fn count(reader: &mut Reader, key: &str, default: u32) -> NonZeroU32 {
    let number = reader.number(key, 1..=u64::from(u32::MAX), default.into());
    u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

pub(super) fn tls(reader: &mut Reader, folder: &Path) -> Option<TlsFiles> {
    match (reader.optional_text("tls.cert_file"), reader.optional_text("tls.key_file")) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert: folder.join(cert), key: folder.join(key) }),
        (None, None) => None,
        _ => {
            reader.mistake("`tls.cert_file` and `tls.key_file`: one is of no use without the other".to_owned());
            None
        }
    }
}

pub(super) fn audit(reader: &mut Reader) -> Audit {
    let days = reader.number("audit.retention_days", 0..=36_500, 0);
    Audit { retention: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)) }
}

/// What a tenant may take about which nothing was said; nothing and zero are without a bound.
pub(super) fn quotas(reader: &mut Reader) -> Quotas {
    let mut one = |key: &str| {
        let number = reader.number(&format!("quotas.{key}"), 0..=u64::from(u32::MAX), 0);
        u32::try_from(number).ok().filter(|number| *number > 0)
    };
    Quotas {
        requests_per_second: one("requests_per_second"),
        burst: one("burst"),
        concurrent_requests: one("concurrent_requests"),
        queued_mb: one("queued_mb"),
        stored_mb: one("stored_mb"),
        versions: one("versions"),
        compile_seconds_per_hour: one("compile_seconds_per_hour"),
        weight: None,
    }
}
