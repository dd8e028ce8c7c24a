//! Takes versions out of memory: once the requests that hold them are answered.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{ModelRef, Stage, TenantId};

use super::Loader;
use crate::clock::Deadline;
use crate::predict::{Slot, State};

/// How often a draining slot is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A slot that a request holds longer than this goes when that lets go of it. As long as a request may ask for.
const DRAIN: Duration = Duration::from_secs(3600);

/// An archived version that was loaded because somebody asked for it is unloaded after so long without a request.
const IDLE: Duration = Duration::from_secs(300);

impl Loader {
    /// A version is no longer in production: out of memory with it, once it is drained.
    pub(super) fn archive(&self, tenant: &TenantId, model: ModelRef) {
        self.take_out(tenant, &model, State::Unloaded);
        self.count_versions();
    }

    /// Says what a version is instead of ready; what answered until now is freed.
    pub(super) fn take_out(&self, tenant: &TenantId, model: &ModelRef, state: State) {
        if let Some(slot) = self.slots().set(tenant, model, state) {
            self.retire(tenant, model, slot);
        }
    }

    /// Frees a slot once nobody holds it any more.
    pub(super) fn retire(&self, tenant: &TenantId, model: &ModelRef, slot: Arc<Slot>) {
        let (loader, tenant, reference) = (self.clone(), tenant.clone(), model.clone());
        tokio::spawn(async move {
            let deadline = Deadline::after(DRAIN);
            while Arc::strong_count(&slot) > 1 && !deadline.left().is_zero() {
                tokio::time::sleep(LOOK).await;
            }
            let (model, version) = (Arc::clone(slot.model()), Arc::clone(slot.version()));
            // Waits for threads and frees memory: not on a thread that serves requests.
            let freed = tokio::task::spawn_blocking(move || {
                let models = slot.models().to_vec();
                drop(slot);
                // One that another version runs too goes with that.
                for model in models.iter().filter(|model| Arc::strong_count(model) == 1) {
                    model.close();
                }
                drop(models);
                give_memory_back();
            });
            match freed.await {
                Ok(()) => {
                    tracing::info!(model.name = &*model, version = &*version, "a version was drained and unloaded");
                    let _turn = loader.turn(&tenant, reference.name.as_str()).await;
                    loader.forget_metrics(&tenant, &reference).await;
                }
                Err(error) => tracing::error!(model.name = &*model, version = &*version, %error, "a version could not be unloaded"),
            }
        });
    }

    /// Has nothing counted any more of a version that is not there; in its model's turn.
    pub(super) async fn forget_metrics(&self, tenant: &TenantId, model: &ModelRef) {
        if matches!(self.store().version(tenant, model).await, Ok(None)) {
            self.0.metrics.forget_version(tenant.as_str(), model.name.as_str(), model.version.as_str());
        }
    }

    /// Unloads archived versions that nobody asks for any more, for as long as the host runs.
    pub async fn sweep(self) {
        let mut answers = std::collections::HashMap::new();
        loop {
            tokio::time::sleep(IDLE).await;
            for (tenant, model, state) in self.slots().all() {
                let State::Ready(slot) = state else { continue };
                let now = slot.metrics().answers();
                drop(slot);
                let before = answers.insert((tenant.clone(), model.clone()), now);
                if before != Some(now) {
                    continue;
                }
                let _turn = self.turn(&tenant, model.name.as_str()).await;
                if self.is_archived(&tenant, &model).await {
                    self.archive(&tenant, model);
                }
            }
        }
    }
}

impl Loader {
    async fn is_archived(&self, tenant: &TenantId, model: &ModelRef) -> bool {
        matches!(self.store().version(tenant, model).await, Ok(Some(record)) if record.stage == Stage::Archived)
    }
}

/// The runtime allocates with the C library, which keeps what is freed: an unloaded model would still count.
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn give_memory_back() {
    // SAFETY: `malloc_trim` takes a number, locks what it needs and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
