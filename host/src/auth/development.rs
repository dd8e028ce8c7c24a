//! A secret of the host's own, and tokens signed with it: for development, where there is no issuer.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::key::{hex, random};
use super::{Expected, Scopes, now_s};

/// Bytes of a secret, before they are written as hexadecimal: as many as HS256 makes use of.
const SECRET_BYTES: usize = 32;

fn path(data: &Path) -> PathBuf {
    data.join("development.secret")
}

/// The secret of a data folder: the one that is there, or a new one that nobody but its owner can read.
///
/// # Errors
/// Where it can be neither read nor made.
pub fn secret(data: &Path) -> io::Result<Vec<u8>> {
    let path = path(data);
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= SECRET_BYTES => return Ok(secret),
        Ok(_) => return Err(io::Error::other(format!("`{}` is too short for a secret: remove it, and a new one is made", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = hex(&random::<SECRET_BYTES>());
    // Whole or not at all, and never over one that somebody else has just made.
    let mut file = tempfile::Builder::new().make_in(data, |path| std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))?;
    file.write_all(secret.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(secret.into_bytes()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => std::fs::read(&path),
        Err(error) => Err(error.error),
    }
}

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Mint {
    /// Whose it is.
    pub tenant: String,
    /// Who it is for.
    pub subject: String,
    /// What it permits.
    pub scopes: Scopes,
    /// What it permits in other tenants.
    pub across: Scopes,
    /// How long it is good for.
    pub lifetime: Duration,
    /// By whom and for whom.
    pub expected: Expected,
}

/// A token, signed with the secret.
///
/// # Errors
/// Where it can't be signed, which does not happen with a secret.
pub fn mint(secret: &[u8], wanted: &Mint) -> Result<String, jsonwebtoken::errors::Error> {
    let now = now_s();
    let id = hex(&random::<16>());
    let claims = json!({
        "iss": wanted.expected.issuer,
        "aud": wanted.expected.audience,
        "sub": wanted.subject,
        "tenant": wanted.tenant,
        "scope": wanted.scopes.to_string(),
        "xt": wanted.across.iter().map(super::Scope::name).collect::<Vec<_>>(),
        "iat": now,
        "nbf": now,
        "exp": now + wanted.lifetime.as_secs(),
        "jti": id,
    });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = secret(folder.path()).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(secret(folder.path()).unwrap(), first);
        let mode = std::fs::metadata(path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(path(folder.path()), "short").unwrap();
        assert!(secret(folder.path()).is_err());
    }
}
