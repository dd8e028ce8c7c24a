//! Instances that serve more than one request.
//!
//! Reuse changes what a plugin means: what one request leaves in a global variable, the next one reads. So the default
//! is a fresh instance for each request, and reuse is a line in the manifest (`[sandbox] reuse = "warm"`). Even then
//! an instance stays with one version of one model, so with one tenant; one that fails in any way is dropped; and each
//! serves a bounded number of requests, so that leaks and leftovers end.

use parking_lot::Mutex;

use super::running::Instance;

/// Instances that are kept; more are dropped. Arbitrary: as many requests of one model at once are rare.
const KEPT: usize = 32;

/// Requests that one instance serves. Arbitrary: enough that starting one costs nothing on average.
const USES: u32 = 1000;

#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Instance>>);

impl Pool {
    pub(super) fn take(&self) -> Option<Instance> {
        self.0.lock().pop()
    }

    pub(super) fn give_back(&self, mut instance: Instance) {
        instance.uses += 1;
        if instance.uses >= USES {
            return;
        }
        // Held for as long as the instance lives: a place of its own, beside that of the request it serves.
        if instance.idle.is_none() {
            instance.idle = instance.compiled.inner.places.take_idle(&instance.compiled.tenant);
        }
        if instance.idle.is_none() {
            return;
        }
        // What is not kept is dropped without the lock.
        let mut kept = self.0.lock();
        if kept.len() < KEPT {
            kept.push(instance);
        }
    }
}
