-- Whose signatures count, what they signed, and what was revoked.

-- Keys whose signatures count for a tenant. A revoked one stays, so that it is never taken for a new one.
CREATE TABLE trust_roots (
    tenant     TEXT    NOT NULL,
    key_id     TEXT    NOT NULL, -- of the public key, as in signatures
    name       TEXT    NOT NULL,
    public_key TEXT    NOT NULL, -- PEM
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL, -- milliseconds since the Unix epoch, as all moments here
    revoked_at INTEGER,
    PRIMARY KEY (tenant, key_id)
) STRICT;

-- Signatures that were good when they came; they are checked again with each load.
CREATE TABLE plugin_signatures (
    tenant     TEXT    NOT NULL,
    plugin     TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    signature  TEXT    NOT NULL, -- base64
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, plugin, version, key_id),
    FOREIGN KEY (tenant, plugin, version) REFERENCES plugins (tenant, name, version) ON DELETE CASCADE
) STRICT;
CREATE TABLE version_signatures (
    tenant     TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    signature  TEXT    NOT NULL, -- base64
    manifest   TEXT    NOT NULL, -- digest of the manifest's text as it was signed
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, model, version, key_id),
    FOREIGN KEY (tenant, model, version) REFERENCES versions (tenant, model, version) ON DELETE CASCADE
) STRICT;

-- Digests that nothing is run of any more, of a tenant or of all. No foreign key: what is not there yet can't come either.
CREATE TABLE revocations (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     TEXT    NOT NULL,
    tenant     TEXT,             -- none: of all tenants
    reason     TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX revocations_once ON revocations (digest, coalesce(tenant, ''));

ALTER TABLE tenants ADD COLUMN require_signatures INTEGER NOT NULL DEFAULT 0 CHECK (require_signatures IN (0, 1));
