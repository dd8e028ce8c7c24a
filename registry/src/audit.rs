//! Who did what: rows that are only ever added, each with the hash of the one before it, so that whoever changes, removes
//! or inserts one has to change all that follow, and everybody who kept a later hash sees it.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, TenantId};
use crate::manifest::text_enum;

/// What kind of credential named an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// Nobody knows: there was no credential, or none that is good.
    Unknown,
    /// Authentication is off: anybody.
    Anybody,
    /// A token of an issuer.
    Token,
    /// A key that this host issued.
    Key,
    /// The host itself, such as by what its configuration lists.
    Host,
}

text_enum!(
    ActorKind,
    "`unknown`, `anybody`, `token`, `key` or `host`",
    Unknown = "unknown",
    Anybody = "anybody",
    Token = "token",
    Key = "key",
    Host = "host"
);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The actor may not.
    Denied,
    /// It may, and it could not be done.
    Failed,
}

text_enum!(Outcome, "`allowed`, `denied` or `failed`", Allowed = "allowed", Denied = "denied", Failed = "failed");

/// On whose behalf, and on which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Of the request; empty for what the host does by itself.
    pub request_id: Arc<str>,
    /// What kind of credential named the actor.
    pub kind: ActorKind,
    /// Who within its tenant: a token's subject, or a key's id.
    pub actor: Arc<str>,
    /// Whose actor it is; none where nobody knows.
    pub tenant: Option<TenantId>,
    /// Where the request came from.
    pub source: Option<IpAddr>,
}

impl Origin {
    /// The host itself.
    pub fn host() -> Self {
        Self { request_id: "".into(), kind: ActorKind::Host, actor: "host".into(), tenant: None, source: None }
    }
}

/// What happened, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// By whom.
    pub by: Origin,
    /// What was done, or tried: such as `version.create`, or method and route.
    pub action: String,
    /// What kind of thing it was done to: such as `version`.
    pub target_kind: String,
    /// Which one.
    pub target: String,
    /// Whose.
    pub target_tenant: Option<TenantId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why not: a code.
    pub reason: Option<String>,
    /// What else is to be known, such as a digest.
    pub detail: Option<String>,
}

/// A row as it was written down. Its JSON is a line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Counts the rows from 1; none is left out.
    pub seq: i64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Of the request.
    pub request_id: String,
    /// See [`ActorKind`].
    pub actor_kind: ActorKind,
    /// Who within its tenant.
    pub actor: String,
    /// Whose actor it is.
    pub actor_tenant: Option<String>,
    /// What was done, or tried.
    pub action: String,
    /// What kind of thing it was done to.
    pub target_kind: String,
    /// Which one.
    pub target: String,
    /// Whose.
    pub target_tenant: Option<String>,
    /// What became of it.
    pub result: Outcome,
    /// Why not.
    pub reason: Option<String>,
    /// Where the request came from.
    pub source: Option<String>,
    /// What else is to be known.
    pub detail: Option<String>,
    /// [`AuditRecord::hash`] of the row before; empty for the first.
    pub prev_hash: String,
    /// Of this row: see [`AuditRecord::computed`].
    pub hash: String,
}

impl AuditRecord {
    /// What the entry becomes as the row after `last`, the number and hash of the row before it.
    pub(crate) fn chained(entry: AuditEntry, last: Option<(i64, String)>) -> Self {
        let (seq, prev_hash) = last.map_or((1, String::new()), |(seq, hash)| (seq + 1, hash));
        let AuditEntry { at, by, action, target_kind, target, target_tenant, outcome, reason, detail } = entry;
        let mut record = Self {
            seq,
            at,
            request_id: by.request_id.to_string(),
            actor_kind: by.kind,
            actor: by.actor.to_string(),
            actor_tenant: by.tenant.map(|tenant| tenant.to_string()),
            action,
            target_kind,
            target,
            target_tenant: target_tenant.map(|tenant| tenant.to_string()),
            result: outcome,
            reason,
            source: by.source.map(|source| source.to_string()),
            detail,
            prev_hash,
            hash: String::new(),
        };
        record.hash = record.computed();
        record
    }

    /// What the hash must be: SHA-256, as hexadecimal, of the JSON list of all fields but the hash itself, in their order and
    /// without spaces.
    pub fn computed(&self) -> String {
        let fields = serde_json::json!([
            self.seq,
            self.at,
            self.request_id,
            self.actor_kind,
            self.actor,
            self.actor_tenant,
            self.action,
            self.target_kind,
            self.target,
            self.target_tenant,
            self.result,
            self.reason,
            self.source,
            self.detail,
            self.prev_hash,
        ]);
        Digest::of(fields.to_string().as_bytes()).hex()
    }
}

/// Which rows are wanted; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Done by this tenant, or to it.
    pub tenant: Option<TenantId>,
    /// On this request.
    pub request_id: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Not before, in milliseconds since the Unix epoch.
    pub since: Option<i64>,
    /// Before.
    pub until: Option<i64>,
    /// The oldest first, as an export has it; else the newest.
    pub oldest_first: bool,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The content of a row is not what its hash says.
    #[error("row {0} was changed: its content does not have its hash")]
    Changed(i64),
    /// It does not point to the row before it.
    #[error("row {0} does not follow the row before it: one was changed, removed or inserted")]
    Unlinked(i64),
    /// Numbers are missing.
    #[error("rows {0} to {1} are missing")]
    Missing(i64, i64),
    /// The beginning is missing, and no retention took it.
    #[error("rows 1 to {0} are missing, and no row says that a retention took them")]
    Cut(i64),
    /// The beginning is missing, and the retention that took it left another.
    #[error("rows 1 to {0} are missing, and the retention that says so took others: their last hash is another")]
    CutElsewhere(i64),
}

/// The action of a row that says which rows a retention takes, by their last one's number (the target) and hash (the last word of
/// the detail). It is written before they go, in portions.
pub(crate) const RETAIN: &str = "audit.retain";

/// What such a row says beside the number.
pub(crate) fn retained(first: i64, last: i64, hash: &str) -> String {
    format!("rows {first} to {last}; the last one's hash is {hash}")
}

/// Walks a chain, row by row, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct ChainCheck {
    /// Number of the first row, and the hash that it points to.
    first: Option<(i64, String)>,
    last: Option<(i64, String)>,
    rows: u64,
    /// A retention took what is missing before the first row.
    is_retained: bool,
}

impl ChainCheck {
    /// The next row. The first may be any: whether a retention took those before it, [`ChainCheck::end`] says.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn next(&mut self, record: &AuditRecord) -> Result<(), ChainError> {
        if record.hash != record.computed() {
            return Err(ChainError::Changed(record.seq));
        }
        match &self.last {
            Some((seq, _)) if record.seq > seq + 1 => return Err(ChainError::Missing(seq + 1, record.seq - 1)),
            Some((seq, hash)) if record.seq != seq + 1 || record.prev_hash != *hash => return Err(ChainError::Unlinked(record.seq)),
            None if record.seq == 1 && !record.prev_hash.is_empty() => return Err(ChainError::Unlinked(1)),
            _ => {}
        }
        let (first, before) = self.first.get_or_insert_with(|| (record.seq, record.prev_hash.clone()));
        if record.action == RETAIN && record.actor_kind == ActorKind::Host {
            let (taken, hash) = (record.target.parse::<i64>().unwrap_or(0), record.detail.as_deref().and_then(|detail| detail.rsplit(' ').next()));
            if taken == *first - 1 && hash != Some(before) {
                return Err(ChainError::CutElsewhere(taken));
            }
            // It may still be at it: then its last row is further on in the chain, and so is known to be the one.
            self.is_retained |= taken >= *first - 1;
        }
        self.last = Some((record.seq, record.hash.clone()));
        self.rows += 1;
        Ok(())
    }

    /// That there is no more.
    ///
    /// # Errors
    /// [`ChainError::Cut`].
    pub fn end(&self) -> Result<(), ChainError> {
        match self.first {
            Some((first, _)) if first > 1 && !self.is_retained => Err(ChainError::Cut(first - 1)),
            _ => Ok(()),
        }
    }

    /// How many rows were walked.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Number and hash of the last row: whoever keeps these can tell later that nothing before was changed, nor cut off.
    pub fn head(&self) -> Option<(i64, &str)> {
        self.last.as_ref().map(|(seq, hash)| (*seq, hash.as_str()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(target: &str) -> AuditEntry {
        AuditEntry {
            at: 1,
            by: Origin::host(),
            action: "PUT /v1/x".to_owned(),
            target_kind: "path".to_owned(),
            target: target.to_owned(),
            target_tenant: None,
            outcome: Outcome::Denied,
            reason: Some("missing_scope".to_owned()),
            detail: None,
        }
    }

    fn chain(count: usize) -> Vec<AuditRecord> {
        let mut rows: Vec<AuditRecord> = Vec::new();
        for n in 0..count {
            let last = rows.last().map(|row| (row.seq, row.hash.clone()));
            rows.push(AuditRecord::chained(entry(&format!("\"{n}\" é")), last));
        }
        rows
    }

    fn walk(rows: &[AuditRecord]) -> Result<u64, ChainError> {
        let mut check = ChainCheck::default();
        rows.iter().try_for_each(|row| check.next(row))?;
        check.end().map(|()| check.rows())
    }

    /// A chain whose last row says that a retention takes rows up to one.
    fn retaining(count: usize, up_to: usize) -> Vec<AuditRecord> {
        let mut rows = chain(count);
        let detail = Some(retained(1, rows[up_to - 1].seq, &rows[up_to - 1].hash));
        let said = AuditEntry { action: RETAIN.to_owned(), detail, outcome: Outcome::Allowed, ..entry(&up_to.to_string()) };
        rows.push(AuditRecord::chained(said, rows.last().map(|row| (row.seq, row.hash.clone()))));
        rows
    }

    #[test]
    fn a_beginning_that_no_retention_took_shows() {
        let rows = retaining(5, 3);
        for first in 0..=3 {
            assert_eq!(walk(&rows[first..]), Ok(6 - first as u64), "taken in portions, and so far up to {first}");
        }
        assert_eq!(walk(&rows[4..]), Err(ChainError::Cut(4)));
        assert_eq!(walk(&rows[5..]), Err(ChainError::Cut(5)), "the row itself says less");
        assert_eq!(walk(&chain(5)[2..]), Err(ChainError::Cut(2)));
        // Other rows in the place of those that it took.
        let mut forged = retaining(5, 3);
        forged[3].prev_hash = forged[2].hash.replace('a', "b");
        for at in 3..6 {
            forged[at].prev_hash = if at == 3 { forged[3].prev_hash.clone() } else { forged[at - 1].hash.clone() };
            forged[at].hash = forged[at].computed();
        }
        assert_eq!(walk(&forged[3..]), Err(ChainError::CutElsewhere(3)));
        assert_eq!(walk(&[]), Ok(0));
    }

    #[test]
    fn whatever_is_done_to_a_chain_shows() {
        assert_eq!(walk(&chain(5)), Ok(5));
        let mut rows = chain(5);
        rows[2].actor = "somebody else".into();
        assert_eq!(walk(&rows), Err(ChainError::Changed(3)));
        rows[2].hash = rows[2].computed();
        assert_eq!(walk(&rows), Err(ChainError::Unlinked(4)), "the next row knows the old hash");
        let mut rows = chain(5);
        rows.remove(2);
        assert_eq!(walk(&rows), Err(ChainError::Missing(3, 3)));
        let mut rows = chain(5);
        rows.insert(2, rows[2].clone());
        assert_eq!(walk(&rows), Err(ChainError::Unlinked(3)));
        let mut rows = chain(5);
        rows.swap(1, 2);
        assert!(walk(&rows).is_err());
    }

    #[test]
    fn a_row_is_the_same_after_an_export() {
        for row in chain(3) {
            let line = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<AuditRecord>(&line).unwrap(), row);
        }
    }
}
