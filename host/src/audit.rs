//! Writes down what was refused or failed: many at once in one transaction, and of one caller no more than a bound, since
//! each row is there for ever. What was changed is written by the registry, in the transaction that changes it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_registry::{AuditEntry, Outcome, Store, TenantId};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
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

/// How often those counts are written.
const COUNTS: Duration = Duration::from_secs(10);

/// Callers that are counted by themselves; further ones are counted together.
const CALLERS: usize = 10_000;

/// Where rows go.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    entries: mpsc::Sender<(AuditEntry, oneshot::Sender<()>)>,
    limit: DefaultKeyedRateLimiter<String>,
    beyond: Mutex<HashMap<String, (u64, AuditEntry)>>,
}

impl AuditLog {
    /// Begins to write into a store, for as long as the process lives.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING);
        let inner = Arc::new(Inner { entries, limit: RateLimiter::keyed(Quota::per_minute(OF_ONE)), beyond: Mutex::default() });
        tokio::spawn(write(store, waiting));
        tokio::spawn(count(Arc::clone(&inner)));
        Self(inner)
    }

    /// Writes a row, and returns once it is there: nobody learns of a refusal that the audit does not know.
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
        let write = async {
            // The receiver lives as long as the process; one that failed has said so in the log.
            if self.entries.send((entry, written)).await.is_ok() {
                let _ = done.await;
            }
        };
        if tokio::time::timeout(PATIENCE, write).await.is_err() {
            tracing::error!("the audit is not written in time");
        }
    }

    fn put_off(&self, whose: String, entry: AuditEntry) {
        let mut beyond = self.beyond.lock();
        let whose = if beyond.len() < CALLERS || beyond.contains_key(&whose) { whose } else { "others".to_owned() };
        beyond.entry(whose).or_insert((0, entry)).0 += 1;
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

/// All that waits goes in one transaction.
async fn write(store: Arc<dyn Store>, mut waiting: mpsc::Receiver<(AuditEntry, oneshot::Sender<()>)>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (entries, done): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let rows = entries.len();
        match store.append_audit(entries).await {
            Ok(()) => done.into_iter().for_each(|done| {
                // Nobody may wait any more.
                let _ = done.send(());
            }),
            // Whoever waits for these is answered all the same.
            Err(error) => tracing::error!(%error, rows, "rows of the audit are lost"),
        }
    }
}

/// Says how many rows were not written each by itself.
async fn count(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(COUNTS).await;
        inner.limit.retain_recent();
        let beyond = std::mem::take(&mut *inner.beyond.lock());
        for (count, like) in beyond.into_values() {
            let detail = Some(format!("{count} more such, from {} on; this row is like the first of them", like.at));
            inner.write(AuditEntry { at: clock::unix_ms(), detail, ..like }).await;
        }
    }
}
