//! What a machine must grant a test: at home its lack is said, where everything is to be tested it is a failure.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Says that a test can't run on this machine; with `CI=true` that is a failure.
pub fn cannot_run_here(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this must run here, and can't: {why}");
    eprintln!("SKIPPED: {why}");
}

/// A disk of its own, as small as a test needs it.
pub struct Tmpfs(TempDir);

impl Tmpfs {
    /// Mounts one.
    ///
    /// # Errors
    /// Where this user may not mount.
    pub fn mount(megabytes: u32) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let options = format!("size={megabytes}m,mode=0700");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match done {
            Ok(done) if done.status.success() => Ok(Self(folder)),
            Ok(done) => Err(format!("no disk can be mounted: {}", String::from_utf8_lossy(&done.stderr).trim())),
            Err(error) => Err(format!("no disk can be mounted: {error}")),
        }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a host that is being killed may still hold files.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
