//! Compiled components on disk. Compiled code is native code, so nothing is given out that this host did not write
//! itself: each file carries a keyed hash over its name and content, made with a key that only this host has.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bulkhead_registry::Digest;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

const TAG_BYTES: usize = 32;

pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    fingerprint: u64,
}

impl Cache {
    /// Opens the folder, made with access for this user only; a key is made at the first time.
    pub(super) fn open(folder: &Path, fingerprint: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let key = key(&folder.join("key"))?;
        Ok(Self { folder: folder.to_owned(), key, fingerprint })
    }

    /// The compiled component, if it is there and untouched.
    pub(super) fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut content = fs::read(&path).ok()?;
        let at = content.len().checked_sub(TAG_BYTES)?;
        let tag = content.split_off(at);
        if self.mac(digest, &content).verify_slice(&tag).is_err() {
            tracing::error!(file = %path.display(), "a compiled component was changed by somebody else: it is not used");
            return None;
        }
        Some(content)
    }

    /// Keeps a compiled component.
    pub(super) fn put(&self, digest: &Digest, compiled: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(compiled)?;
        file.write_all(&self.mac(digest, compiled).finalize().into_bytes())?;
        file.persist(self.path(digest))?;
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}-{:016x}", digest.hex(), self.fingerprint))
    }

    fn mac(&self, digest: &Digest, compiled: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(digest.hex().as_bytes());
        mac.update(&self.fingerprint.to_le_bytes());
        mac.update(compiled);
        mac
    }
}

fn key(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other(format!("`{}` is not a key of 32 bytes; remove it", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut key)?;
            // Whole or not at all, and for this user only, which is how temporary files are made.
            let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
            file.write_all(&key)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_host_wrote_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        cache.put(&a, b"native code of a").unwrap();
        assert_eq!(cache.get(&a).unwrap(), b"native code of a");
        assert_eq!(cache.get(&b), None);

        // Another version of the compiler, and a restart with the same one.
        assert_eq!(Cache::open(folder.path(), 2).unwrap().get(&a), None);
        assert_eq!(Cache::open(folder.path(), 1).unwrap().get(&a).unwrap(), b"native code of a");

        // A file under another's name.
        fs::copy(cache.path(&a), cache.path(&b)).unwrap();
        assert_eq!(cache.get(&b), None);

        // Every single bit counts.
        let good = fs::read(cache.path(&a)).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(cache.path(&a), &bad).unwrap();
            assert_eq!(cache.get(&a), None, "bit {bit}");
        }
        fs::write(cache.path(&a), &good[..good.len() - 1]).unwrap();
        assert_eq!(cache.get(&a), None);
        fs::write(cache.path(&a), b"").unwrap();
        assert_eq!(cache.get(&a), None);
    }

    #[test]
    fn the_key_is_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        Cache::open(&path, 1).unwrap();
        assert_eq!(fs::metadata(path.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
