//! What a connection remembers of whoever asks over it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Caller, Verified, now_s};

/// The last token that came over a connection, and whose it was found to be: a client sends the same one with each of its
/// requests, and comparing costs less than hashing.
#[derive(Default)]
pub struct Memory(Mutex<Option<Last>>);

struct Last {
    token: Box<str>,
    verified: Verified,
    /// Of the keys.
    generation: u64,
}

impl Memory {
    /// Whose the token is, if it is the last one, was verified by the keys of this generation, and has not expired.
    pub(super) fn recall(&self, token: &str, generation: u64) -> Option<Arc<Caller>> {
        let last = self.0.lock();
        let last = last.as_ref().filter(|last| *last.token == *token && last.generation == generation && now_s() < last.verified.until_s)?;
        Some(Arc::clone(&last.verified.caller))
    }

    pub(super) fn keep(&self, token: &str, verified: &Verified, generation: u64) {
        *self.0.lock() = Some(Last { token: token.into(), verified: verified.clone(), generation });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_by_the_same_keys_in_its_time_is_remembered() {
        let memory = Memory::default();
        let good = Verified { caller: Caller::anybody(), until_s: now_s() + 60 };
        assert!(memory.recall("a", 1).is_none());
        memory.keep("a", &good, 1);
        assert!(memory.recall("a", 1).is_some());
        assert!(memory.recall("b", 1).is_none() && memory.recall("", 1).is_none() && memory.recall("a", 2).is_none());
        memory.keep("b", &good, 2);
        assert!(memory.recall("a", 1).is_none() && memory.recall("b", 2).is_some());
        memory.keep("b", &Verified { until_s: now_s(), ..good }, 2);
        assert!(memory.recall("b", 2).is_none());
    }
}
