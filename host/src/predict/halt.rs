//! Ends what is under way on a version that may not run any more.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::trust::Barred;

/// Whether something was told to end, and why. Who never waits for it pays nothing for it.
#[derive(Default)]
pub(super) struct Halt {
    why: OnceLock<Barred>,
    told: Notify,
}

impl Halt {
    /// Ends it; the first reason stays.
    pub(super) fn halt(&self, why: Barred) {
        // Said already, and for as good a reason.
        let _ = self.why.set(why);
        self.told.notify_waiters();
    }

    /// Why it was told to end, where it was.
    pub(super) fn why(&self) -> Option<&Barred> {
        self.why.get()
    }

    /// Waits until it is told to end.
    pub(super) async fn halted(&self) -> Barred {
        loop {
            // Made before it is looked, so that what is said in between is not missed.
            let told = self.told.notified();
            if let Some(why) = self.why() {
                return why.clone();
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_and_who_comes_later_too() {
        let halt = Arc::new(Halt::default());
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn({
                    let halt = Arc::clone(&halt);
                    async move { halt.halted().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        halt.halt(Barred::Unsigned { what: "one".to_owned() });
        halt.halt(Barred::Unsigned { what: "two".to_owned() });
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Barred::Unsigned { what: "one".to_owned() });
        }
        assert_eq!(halt.halted().await, Barred::Unsigned { what: "one".to_owned() });
    }
}
