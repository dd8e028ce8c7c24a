//! Writes down what was refused or failed: many at once in one transaction, and of one caller no more than a bound, since
//! rows stay for as long as the audit is kept. What was changed is written by the registry, in the transaction that changes it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{ActorKind, AuditEntry, Origin, Outcome, Store, StoreError, TenantId};
use futures_util::future::join_all;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};

use crate::clock;

/// Rows of one transaction. Arbitrary: it takes milliseconds.
const AT_ONCE: usize = 256;

/// Rows that wait. Whoever brings one more waits until there is room.
const WAITING: usize = 4096;

/// Whoever is refused waits no longer for the row that says so: a database that is gone keeps nobody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rows of one caller in a minute; what is beyond is counted, and the count is a row. Arbitrary: more than a person reads.
const OF_ONE: NonZeroU32 = NonZeroU32::new(120).unwrap();

/// How often a busy database is asked to take rows, each time for as long as the store itself waits. Arbitrary: a minute.
const TRIES: u32 = 6;

/// How often those counts are written.
const COUNTS: Duration = Duration::from_secs(10);

/// Callers that are counted by themselves; further ones are counted together.
const CALLERS: usize = 10_000;

/// Whoever only looks leaves one row in so long: who asks for metrics every second is known by the first.
const LOOKS: Duration = Duration::from_secs(3600);

/// Where rows go.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    entries: mpsc::Sender<(AuditEntry, oneshot::Sender<()>)>,
    limit: DefaultKeyedRateLimiter<String>,
    beyond: Mutex<HashMap<String, (u64, AuditEntry)>>,
    looks: moka::sync::Cache<String, ()>,
    lost: IntCounter,
}

impl AuditLog {
    /// Begins to write into a store, for as long as the process lives. Rows that could not be written are counted.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, lost: IntCounter) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING);
        let looks = moka::sync::Cache::builder().max_capacity(CALLERS as u64).time_to_live(LOOKS).build();
        let limit = RateLimiter::keyed(Quota::per_minute(OF_ONE));
        let inner = Arc::new(Inner { entries, limit, beyond: Mutex::default(), looks, lost: lost.clone() });
        tokio::spawn(write(store, waiting, lost));
        tokio::spawn(count(Arc::clone(&inner)));
        Self(inner)
    }

    /// Writes down that somebody looked at what is another tenant's: the first time, and once in an hour.
    pub async fn looked(&self, entry: AuditEntry) {
        let tenant = entry.target_tenant.as_ref().map(TenantId::as_str).unwrap_or_default();
        let key = format!("{} {} {tenant}", whose(&entry), entry.action);
        if self.0.looks.entry(key).or_insert(()).is_fresh() {
            self.write(entry).await;
        }
    }

    /// Writes what is only counted so far, before the process ends.
    pub async fn close(&self) {
        self.0.write_counts().await;
    }

    /// Writes a row, and returns once it is there, so that nobody learns of a refusal that the audit does not know; or after a
    /// while, or at once where the caller had so many already that this one is only counted.
    pub async fn write(&self, entry: AuditEntry) {
        let whose = whose(&entry);
        // What was let in is written in any case: a crowd of such rows must not hide one.
        if entry.outcome != Outcome::Allowed && self.0.limit.check_key(&whose).is_err() {
            self.0.put_off(whose, entry);
            return;
        }
        tracing::info!(
            request.id = &*entry.by.request_id,
            tenant = entry.by.tenant.as_ref().map(TenantId::as_str),
            actor = &*entry.by.actor,
            source = entry.by.source.map(tracing::field::display),
            action = entry.action,
            target = entry.target,
            result = entry.outcome.as_str(),
            reason = entry.reason,
            "a request that the audit has"
        );
        self.0.write(entry).await;
    }
}

impl Inner {
    async fn write(&self, entry: AuditEntry) {
        let (written, done) = oneshot::channel();
        let until = tokio::time::Instant::now() + PATIENCE;
        // The receiver lives as long as the process.
        let Ok(Ok(place)) = tokio::time::timeout_at(until, self.entries.reserve()).await else {
            tracing::error!(rows = 1, "rows of the audit are lost: those before them are not written in time");
            self.lost.inc();
            return;
        };
        place.send((entry, written));
        // One that failed has said so in the log, and one that is late is not lost yet.
        if tokio::time::timeout_at(until, done).await.is_err() {
            tracing::error!("the audit is not written in time");
        }
    }

    async fn write_counts(&self) {
        let beyond = std::mem::take(&mut *self.beyond.lock());
        // All at once: they go in few transactions, and a database that is gone is waited for once.
        let rows = beyond.into_values().map(|(count, like)| {
            let detail = Some(format!("{count} more such, from {} on; this row is like the first of them", like.at));
            self.write(AuditEntry { at: clock::unix_ms(), detail, ..like })
        });
        join_all(rows).await;
    }

    fn put_off(&self, whose: String, entry: AuditEntry) {
        let mut beyond = self.beyond.lock();
        if beyond.len() < CALLERS || beyond.contains_key(&whose) {
            beyond.entry(whose).or_insert((0, entry)).0 += 1;
            return;
        }
        // Those of many callers are nobody's.
        let by = Origin { kind: ActorKind::Unknown, actor: "".into(), tenant: None, source: None, ..entry.by };
        let entry = AuditEntry { by, target: String::new(), target_tenant: None, ..entry };
        beyond.entry("others".to_owned()).or_insert((0, entry)).0 += 1;
    }
}

/// What an address is counted as: one IPv6 customer has a network of 2^64 addresses.
#[must_use]
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Whom a row is counted with: a tenant's caller, or where nobody knows who it is, the address.
fn whose(entry: &AuditEntry) -> String {
    match (&entry.by.tenant, entry.by.source) {
        (Some(tenant), _) => format!("{tenant}/{}", entry.by.actor),
        (None, Some(source)) => network(source).to_string(),
        (None, None) => String::new(),
    }
}

/// A database that somebody else keeps busy is asked again, for a while: whoever waits for the rows has been answered by then.
async fn append(store: &dyn Store, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
    for _ in 1..TRIES {
        match store.append_audit(entries.clone()).await {
            Err(StoreError::Busy(_)) => tracing::warn!(rows = entries.len(), "rows of the audit wait for the database"),
            outcome => return outcome,
        }
    }
    store.append_audit(entries).await
}

/// All that waits goes in one transaction.
async fn write(store: Arc<dyn Store>, mut waiting: mpsc::Receiver<(AuditEntry, oneshot::Sender<()>)>, lost: IntCounter) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (entries, done): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let rows = entries.len();
        match append(&*store, entries).await {
            Ok(()) => done.into_iter().for_each(|done| {
                // Nobody may wait any more.
                let _ = done.send(());
            }),
            // Whoever waits for these is answered all the same.
            Err(error) => {
                lost.inc_by(rows as u64);
                tracing::error!(%error, rows, "rows of the audit are lost");
            }
        }
    }
}

/// Says how many rows were not written each by itself.
async fn count(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(COUNTS).await;
        inner.limit.retain_recent();
        inner.write_counts().await;
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_registry::{AuditFilter, AuditRecord, Page, SqliteStore};

    use super::*;

    fn entry(action: &str, outcome: Outcome) -> AuditEntry {
        let tenant: Option<TenantId> = Some("acme".parse().unwrap());
        AuditEntry {
            at: 1,
            by: Origin { request_id: "r".into(), kind: ActorKind::Token, actor: "ann".into(), tenant, source: None },
            action: action.to_owned(),
            target_kind: "path".to_owned(),
            target: "/".to_owned(),
            target_tenant: None,
            outcome,
            reason: None,
            detail: None,
        }
    }

    async fn log() -> (tempfile::TempDir, SqliteStore, AuditLog, IntCounter) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("registry.db")).await.unwrap();
        let lost = IntCounter::new("lost", "rows").unwrap();
        let log = AuditLog::start(Arc::new(store.clone()), lost.clone());
        (folder, store, log, lost)
    }

    async fn rows(store: &SqliteStore) -> Vec<AuditRecord> {
        store.audit(&AuditFilter::default(), &Page { limit: 500, after: None }).await.unwrap().items
    }

    #[tokio::test]
    async fn counts_are_written_before_the_end() {
        let (_folder, store, log, lost) = log().await;
        for _ in 0..OF_ONE.get() + 30 {
            log.write(entry("GET /", Outcome::Denied)).await;
        }
        log.close().await;
        let rows = rows(&store).await;
        let count = rows.iter().filter_map(|row| row.detail.as_deref()?.split(' ').next()?.parse::<u32>().ok()).sum::<u32>();
        assert_eq!(rows.iter().filter(|row| row.detail.is_none()).count() as u32 + count, OF_ONE.get() + 30);
        assert!(count > 20 && lost.get() == 0, "{count}");
    }

    #[tokio::test]
    async fn who_looks_again_and_again_leaves_one_row() {
        let (_folder, store, log, _) = log().await;
        for _ in 0..5 {
            log.looked(entry("metrics.read", Outcome::Allowed)).await;
            log.looked(entry("audit.read", Outcome::Allowed)).await;
        }
        let other = AuditEntry { target_tenant: Some("other".parse().unwrap()), ..entry("audit.read", Outcome::Allowed) };
        log.looked(other).await;
        assert_eq!(rows(&store).await.len(), 3);
    }

    #[tokio::test]
    async fn rows_that_are_lost_are_counted() {
        let (_folder, store, log, lost) = log().await;
        store.close().await;
        log.write(entry("GET /", Outcome::Denied)).await;
        log.write(entry("GET /", Outcome::Denied)).await;
        assert_eq!(lost.get(), 2);
    }
}
