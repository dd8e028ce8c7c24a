//! Answers that are kept for requests that ask the same.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::PredictError;
use super::key::Key;
use crate::payload::Payload;
use crate::runner::RunError;

/// An answer that is kept.
pub(super) type Kept = Arc<Keep>;

/// What came out, and the id of no request.
pub(super) struct Keep {
    pub(super) payload: Payload,
    /// No other answer of this process has it.
    made: u64,
    /// The answer that it was made of, where it is another's text: good for as long as that is kept.
    of: Option<(Key, u64)>,
}

/// Why who was to make an answer could not.
#[derive(Debug, Clone)]
pub(super) struct NotMade(PredictError);

/// Where answers are kept: in this process, or, later, in one store for several hosts.
#[async_trait]
pub(super) trait AnswerCache: Send + Sync {
    /// The answer that is kept, if one is.
    async fn get(&self, key: &Key) -> Option<Kept>;

    /// The answer that is kept, or the one that `make` gives; then it is kept. Of several that ask the same at one time, one
    /// makes the answer and the others get it. What can't be made is not kept.
    ///
    /// # Errors
    /// Where `make` gave none, whoever ran it.
    async fn get_or_make(&self, key: Key, make: BoxFuture<'_, Result<Kept, NotMade>>) -> Result<Kept, NotMade>;

    /// Keeps an answer in place of the one that may be there.
    async fn put(&self, key: Key, answer: Kept);
}

/// What a look into the cache came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheEvent {
    /// The answer was there, or somebody else was just making it.
    Hit,
    /// It was made.
    Miss,
    /// The caller did not want one that was kept.
    Bypass,
}

impl CacheEvent {
    /// As it stands in answers and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// What the caller wants of the cache, by the words of HTTP's `Cache-Control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// An answer that is kept will do.
    #[default]
    Any,
    /// `no-cache`: a new one, which is kept.
    Fresh,
    /// `no-store`: a new one, which is not kept.
    Without,
}

impl CacheUse {
    /// Of the header's value.
    #[must_use]
    pub fn of(cache_control: &str) -> Self {
        let says = |word: &str| cache_control.split(',').any(|directive| directive.trim().eq_ignore_ascii_case(word));
        match (says("no-store"), says("no-cache")) {
            (true, _) => Self::Without,
            (false, true) => Self::Fresh,
            _ => Self::Any,
        }
    }
}

/// Answers of one version, in this process.
pub struct LocalCache {
    answers: moka::future::Cache<Key, Kept, BuildHasherDefault<KeyHasher>>,
    bytes: u64,
}

/// Keys are hashes already, and nobody can choose one: a part of each will do.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let part = bytes.first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
        // The cache also hashes keys together with other things.
        self.0 = self.0.rotate_left(23) ^ part;
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What an entry takes beside its answer.
const ENTRY_BYTES: usize = 256;

impl LocalCache {
    /// For answers that are good for so long, of so many bytes in all.
    #[must_use]
    pub fn new(ttl: Duration, bytes: u64) -> Self {
        let answers = moka::future::Cache::builder().max_capacity(bytes).weigher(|_: &Key, answer: &Kept| weight(answer)).time_to_live(ttl);
        let answers = answers.build_with_hasher(BuildHasherDefault::default());
        Self { answers, bytes }
    }

    /// Holds to the bound now, rather than some answers later, and keeps nothing that does not fit by itself.
    async fn settle(&self, key: &Key, answer: &Kept) {
        if u64::from(weight(answer)) > self.bytes {
            self.answers.invalidate(key).await;
        }
        self.answers.run_pending_tasks().await;
    }
}

fn weight(answer: &Kept) -> u32 {
    u32::try_from(ENTRY_BYTES + answer.payload.bytes()).unwrap_or(u32::MAX)
}

#[async_trait]
impl AnswerCache for LocalCache {
    async fn get(&self, key: &Key) -> Option<Kept> {
        self.answers.get(key).await
    }

    async fn get_or_make(&self, key: Key, make: BoxFuture<'_, Result<Kept, NotMade>>) -> Result<Kept, NotMade> {
        let entry = self.answers.entry(key).or_try_insert_with(make).await.map_err(|error| NotMade::clone(&error))?;
        if entry.is_fresh() {
            self.settle(&key, entry.value()).await;
        }
        Ok(entry.into_value())
    }

    async fn put(&self, key: Key, answer: Kept) {
        self.answers.insert(key, Arc::clone(&answer)).await;
        self.settle(&key, &answer).await;
    }
}

/// Answers from the cache where it may, and else by `make`, which is called once at most.
pub(super) async fn answer<F>(
    cache: &dyn AnswerCache,
    key: Key,
    wanted: CacheUse,
    make: impl FnOnce() -> F + Send + Sync,
) -> Result<(Kept, CacheEvent), PredictError>
where
    F: Future<Output = Result<Payload, PredictError>> + Send,
{
    if wanted != CacheUse::Any {
        let kept = Keep::new(make().await?, None);
        if wanted == CacheUse::Fresh {
            cache.put(key, Arc::clone(&kept)).await;
        }
        return Ok((kept, CacheEvent::Bypass));
    }
    let mut make = Some(make);
    loop {
        // Taken by the attempt once it is this request that makes the answer.
        let own = Mutex::new(make.take());
        let attempt = Box::pin(async {
            let make = own.lock().take();
            let lost = || RunError::Failed("its answer was lost on the way".to_owned()).into();
            match make {
                Some(make) => make().await.map(|payload| Keep::new(payload, None)).map_err(NotMade),
                None => Err(NotMade(lost())),
            }
        });
        let got = cache.get_or_make(key, attempt).await;
        make = own.into_inner();
        match (got, &make) {
            (Ok(kept), Some(_)) => return Ok((kept, CacheEvent::Hit)),
            (Ok(kept), None) => return Ok((kept, CacheEvent::Miss)),
            // Somebody else had no time, say: the next one tries, and the others wait for that.
            (Err(NotMade(error)), Some(_)) if error.is_of_the_moment() => {}
            (Err(NotMade(error)), _) => return Err(error),
        }
    }
}

impl Keep {
    fn new(payload: Payload, of: Option<(Key, u64)>) -> Kept {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { payload, made: MADE.fetch_add(1, Ordering::Relaxed), of })
    }

    /// The same answer as the text that it is.
    pub(super) fn text(text: String, key: Key, of: &Self) -> Kept {
        Self::new(Payload::Json(text), Some((key, of.made)))
    }

    /// Whether what it was made of is still what is kept.
    pub(super) async fn stands(&self, cache: &dyn AnswerCache) -> bool {
        match &self.of {
            None => true,
            Some((key, made)) => cache.get(key).await.is_some_and(|there| there.made == *made),
        }
    }

    /// The answer itself, copied only where it is kept.
    pub(super) fn taken(kept: Kept) -> Payload {
        Arc::try_unwrap(kept).map_or_else(|kept| kept.payload.clone(), |keep| keep.payload)
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn keys_keep_apart_whatever_they_are_hashed_with() {
        let hashers = BuildHasherDefault::<KeyHasher>::default();
        let keys: Vec<Key> = (0..100u8).map(|at| [at; 32]).collect();
        let mut hashes: Vec<u64> = keys.iter().flat_map(|key| [hashers.hash_one(key), hashers.hash_one((key, TypeId::of::<Keep>()))]).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 200);
    }
}
