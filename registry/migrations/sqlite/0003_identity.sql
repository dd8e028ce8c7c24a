-- Who may ask, and what was asked.

-- Keys that the host issued. Of the secret there is a hash only.
CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    hash       TEXT    NOT NULL, -- SHA-256 of the secret, hexadecimal
    scopes     TEXT    NOT NULL, -- names with spaces between them
    across     TEXT    NOT NULL, -- what it may in other tenants, likewise
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL, -- milliseconds since the Unix epoch, as all moments here
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, id);

-- What an operator said about a tenant. One without a row is as the defaults say.
CREATE TABLE tenants (
    tenant     TEXT    NOT NULL PRIMARY KEY,
    trusted    INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    disabled   INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    quotas     TEXT    NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What was done, and what was refused. Each row holds the hash of the one before it; see `audit.rs`.
CREATE TABLE audit (
    seq           INTEGER NOT NULL PRIMARY KEY,
    at            INTEGER NOT NULL,
    request_id    TEXT    NOT NULL,
    actor_kind    TEXT    NOT NULL,
    actor         TEXT    NOT NULL,
    actor_tenant  TEXT,
    action        TEXT    NOT NULL,
    target_kind   TEXT    NOT NULL,
    target        TEXT    NOT NULL,
    target_tenant TEXT,
    result        TEXT    NOT NULL CHECK (result IN ('allowed', 'denied', 'failed')),
    reason        TEXT,
    source        TEXT,
    detail        TEXT,
    prev_hash     TEXT    NOT NULL,
    hash          TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_by_request ON audit (request_id);
CREATE INDEX audit_by_actor_tenant ON audit (actor_tenant, seq);
CREATE INDEX audit_by_target_tenant ON audit (target_tenant, seq);

-- Where the chain begins once a retention took away what was older: the hash that the first row that is left points to.
CREATE TABLE audit_anchors (
    seq  INTEGER NOT NULL PRIMARY KEY, -- of the last row that is gone
    hash TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever added to');
END;
-- A retention names first where the chain begins from then on, and takes a row off its old end only.
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
WHEN old.seq > coalesce((SELECT max(seq) FROM audit_anchors), 0)
BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever added to');
END;
CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
WHEN new.seq <> 1 + coalesce((SELECT max(seq) FROM audit), (SELECT max(seq) FROM audit_anchors), 0)
    OR new.prev_hash <> coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), (SELECT hash FROM audit_anchors ORDER BY seq DESC LIMIT 1), '')
BEGIN
    SELECT RAISE(ABORT, 'a row of the audit follows the last one');
END;
CREATE TRIGGER audit_anchors_are_of_rows BEFORE INSERT ON audit_anchors
WHEN NOT EXISTS (SELECT 1 FROM audit WHERE seq = new.seq AND hash = new.hash)
BEGIN
    SELECT RAISE(ABORT, 'an anchor is a row of the audit');
END;
CREATE TRIGGER audit_anchors_are_never_changed BEFORE UPDATE ON audit_anchors
BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever added to');
END;
CREATE TRIGGER audit_anchors_are_never_deleted BEFORE DELETE ON audit_anchors
BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever added to');
END;
