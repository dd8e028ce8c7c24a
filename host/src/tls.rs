//! TLS: a certificate and its key from files, read again when they change. One that can't be read leaves the last good one
//! in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    /// As the files were before they were read.
    seen: Stamp,
}

/// What a look at the files tells of their content.
type Stamp = [Option<(std::time::SystemTime, u64)>; 2];

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads both.
    ///
    /// # Errors
    /// Where one can't be read, or they don't belong together.
    pub fn open(cert: &Path, key: &Path) -> anyhow::Result<Self> {
        let seen = stamp(cert, key);
        let current = Arc::new(Current(ArcSwap::from_pointee(read(cert, key)?)));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), current, seen })
    }

    /// For a listener whose connections speak that protocol, by its name in ALPN.
    ///
    /// # Errors
    /// Where the library has no version of TLS, which it has.
    pub fn config(&self, protocol: &str) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let provider = Arc::new(ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&self.current);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again whenever they change, for as long as the host runs.
    pub async fn keep_fresh(self) {
        let mut seen = self.seen;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = stamp(&self.cert, &self.key);
            if now == seen {
                continue;
            }
            match read(&self.cert, &self.key) {
                Ok(new) => {
                    self.current.0.store(Arc::new(new));
                    seen = now;
                    tracing::info!(file = %self.cert.display(), "the certificate was renewed");
                }
                // Perhaps one of the two is yet to be replaced: the next look tells.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the new certificate can't be used; the last good one still is"),
            }
        }
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    [cert, key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

fn read(cert: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let named = |path: &Path, what: &str| format!("`{}` can't be read as {what} (PEM)", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).with_context(|| named(cert, "a certificate"))?.collect();
    let chain = chain.with_context(|| named(cert, "a certificate"))?;
    anyhow::ensure!(!chain.is_empty(), "`{}` has no certificate (PEM)", cert.display());
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| named(key, "a private key"))?;
    let certified = CertifiedKey::from_der(chain, private, &ring::default_provider());
    certified.with_context(|| {
        format!("the key `{}` does not belong to the certificate `{}`, or is of a kind that is not known", key.display(), cert.display())
    })
}
