//! Compiled components on disk. Compiled code is native code, so nothing is given out that this host did not write
//! itself: each file carries a keyed hash over its name and content, made with a key that only this host has.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bulkhead_registry::Digest;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::clock;

const TAG_BYTES: usize = 32;

/// Of the digest with which a file's name begins, in hexadecimal.
const DIGEST_BYTES: usize = 32;

/// The file of the key.
const KEY: &str = "key";

/// Bytes of all files; those that were not used for the longest go first, and are compiled again should they be asked
/// for. Arbitrary: a plugin takes about a megabyte, once more for each configuration of it.
const MOST_BYTES: u64 = 2 << 30;

pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    fingerprint: u64,
    most_bytes: u64,
}

impl Cache {
    /// Opens the folder, made with access for this user only; a key is made at the first time.
    pub(super) fn open(folder: &Path, fingerprint: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let key = key(&folder.join(KEY))?;
        Ok(Self { folder: folder.to_owned(), key, fingerprint, most_bytes: MOST_BYTES })
    }

    /// The file of a compiled component, if it is there and untouched. It begins with the component; what is written here
    /// is only ever replaced as a whole, so the file that was read is also the one that is mapped.
    pub(super) fn get(&self, digest: &Digest) -> Option<File> {
        let path = self.path(digest);
        let mut file = File::open(&path).ok()?;
        if !self.is_untouched(digest, &mut file).ok()? {
            tracing::error!(file = %path.display(), "a compiled component was changed by somebody else: it is not used");
            return None;
        }
        // When it was last used, for `trim`; of no use to anybody else.
        let _ = File::options().append(true).open(&path).and_then(|file| file.set_modified(clock::system_now()));
        Some(file)
    }

    /// Reads it piece by piece: as a whole it would leave megabytes with the allocator.
    fn is_untouched(&self, digest: &Digest, file: &mut File) -> io::Result<bool> {
        let Some(mut left) = file.metadata()?.len().checked_sub(TAG_BYTES as u64) else { return Ok(false) };
        let mut mac = self.mac(digest);
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let piece = &mut buffer[..most];
            file.read_exact(piece)?;
            mac.update(piece);
            left -= piece.len() as u64;
        }
        let mut tag = [0; TAG_BYTES];
        file.read_exact(&mut tag)?;
        Ok(mac.verify_slice(&tag).is_ok())
    }

    /// Keeps a compiled component.
    pub(super) fn put(&self, digest: &Digest, compiled: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(compiled)?;
        let mut mac = self.mac(digest);
        mac.update(compiled);
        file.write_all(&mac.finalize().into_bytes())?;
        file.persist(self.path(digest))?;
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "the cache of compiled components can't be kept within its bound");
        }
        Ok(())
    }

    /// The compiled component of a file that [`Cache::get`] gave, where it can't be mapped.
    pub(super) fn bytes(file: &mut File) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.len().saturating_sub(TAG_BYTES));
        Ok(bytes)
    }

    /// Removes what was not used for the longest, until the rest fits.
    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // The key stays, and so does what is being written, which has another name until it is whole.
            let is_component = entry.file_name().as_encoded_bytes().get(2 * DIGEST_BYTES) == Some(&b'-');
            if let Ok(metadata) = entry.metadata()
                && is_component
            {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort_unstable();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= self.most_bytes {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= size,
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}-{:016x}", digest.hex(), self.fingerprint))
    }

    fn mac(&self, digest: &Digest) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(digest.hex().as_bytes());
        mac.update(&self.fingerprint.to_le_bytes());
        mac
    }
}

fn key(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other(format!("`{}` is not a key of 32 bytes; remove it", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut key)?;
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

    /// Of the file without its tag.
    fn content(cache: &Cache, digest: &Digest) -> Vec<u8> {
        Cache::bytes(&mut cache.get(digest).unwrap()).unwrap()
    }

    #[test]
    fn only_what_the_host_wrote_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        cache.put(&a, b"native code of a").unwrap();
        assert_eq!(content(&cache, &a), b"native code of a");
        assert!(cache.get(&b).is_none());

        // Another version of the compiler, and a restart with the same one.
        assert!(Cache::open(folder.path(), 2).unwrap().get(&a).is_none());
        assert_eq!(content(&Cache::open(folder.path(), 1).unwrap(), &a), b"native code of a");

        // A file under another's name.
        fs::copy(cache.path(&a), cache.path(&b)).unwrap();
        assert!(cache.get(&b).is_none());

        // Every single bit counts.
        let good = fs::read(cache.path(&a)).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(cache.path(&a), &bad).unwrap();
            assert!(cache.get(&a).is_none(), "bit {bit}");
        }
        fs::write(cache.path(&a), &good[..good.len() - 1]).unwrap();
        assert!(cache.get(&a).is_none());
        fs::write(cache.path(&a), b"").unwrap();
        assert!(cache.get(&a).is_none());
    }

    #[test]
    fn what_was_not_used_for_the_longest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(folder.path(), 1).unwrap();
        cache.most_bytes = 300;
        let digests = [b"a", b"b", b"c"].map(|text| Digest::of(text));
        let age = |digest: &Digest, seconds| {
            let file = File::options().append(true).open(cache.path(digest)).unwrap();
            file.set_modified(clock::system_now() - std::time::Duration::from_secs(seconds)).unwrap();
        };
        cache.put(&digests[0], &[0; 100]).unwrap();
        cache.put(&digests[1], &[1; 100]).unwrap();
        age(&digests[0], 20);
        age(&digests[1], 10);
        assert!(cache.get(&digests[0]).is_some());
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        cache.put(&digests[2], &[2; 100]).unwrap();
        assert_eq!(digests.map(|digest| cache.get(&digest).is_some()), [true, false, true]);
        assert_eq!(Cache::open(folder.path(), 1).unwrap().key, cache.key);
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
