//! Keys as files.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead::signing::{PublicKey, SecretKey};

use crate::cli::out;

/// Makes a pair: the private key where `file` says, the public one beside it. Nothing that is there is written over.
pub(super) fn generate(file: &Path) -> anyhow::Result<(PathBuf, PublicKey)> {
    let key = SecretKey::generate().context("the system has no random numbers")?;
    let mut public = OsString::from(file);
    public.push(".pub");
    let public = PathBuf::from(public);
    anyhow::ensure!(!public.exists(), "`{}` is there already: name another file", public.display());
    write(file, 0o600, &key.to_pem()?)?;
    write(&public, 0o644, &key.public().to_pem())?;
    Ok((public, key.public()))
}

fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => anyhow::anyhow!("`{}` is there already: name another file", path.display()),
        _ => anyhow::Error::new(error).context(format!("`{}` can't be made", path.display())),
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("`{}` can't be written", path.display()))
}

/// A private key; one that others can read is told of.
pub(super) fn read(path: &Path) -> anyhow::Result<SecretKey> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("the key `{shown}` can't be read"))?;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        out::note(format_args!("warning: others on this machine can read the private key `{shown}`: chmod 600 {shown}"));
    }
    SecretKey::from_pem(&text).with_context(|| format!("`{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_for_its_owner_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.key");
        let (public, key) = generate(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(PublicKey::from_pem(&std::fs::read_to_string(&public).unwrap()).unwrap(), key);
        assert_eq!(read(&file).unwrap().public(), key);
        assert!(generate(&file).unwrap_err().to_string().contains("is there already"));
        std::fs::remove_file(&public).unwrap();
        assert!(generate(&file).unwrap_err().to_string().contains("is there already"));
        assert!(!public.exists() && read(&public).is_err());
    }
}
