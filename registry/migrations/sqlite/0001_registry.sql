-- What exists. `version_key` is the version as text whose byte order is semver's; see `ids/version.rs`.
-- Digests, versions and JSON are text as the API shows them, so that a person with `sqlite3` can read the tables.

CREATE TABLE plugins (
    tenant      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    version_key TEXT    NOT NULL,
    world       TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    imports     TEXT    NOT NULL, -- JSON: list of text
    description TEXT    NOT NULL, -- JSON
    created_at  INTEGER NOT NULL, -- milliseconds since the Unix epoch
    PRIMARY KEY (tenant, name, version)
) STRICT;
CREATE UNIQUE INDEX plugins_in_order ON plugins (tenant, name, version_key);
CREATE INDEX plugins_by_digest ON plugins (digest);

CREATE TABLE models (
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT;

CREATE TABLE versions (
    tenant      TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    version_key TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    runtime     TEXT    NOT NULL, -- as in the manifest, to filter by
    manifest    TEXT    NOT NULL, -- JSON
    signature   TEXT    NOT NULL, -- JSON
    stage       TEXT    NOT NULL CHECK (stage IN ('staging', 'production', 'archived')),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, model, version),
    FOREIGN KEY (tenant, model) REFERENCES models (tenant, name)
) STRICT;
CREATE UNIQUE INDEX versions_in_order ON versions (tenant, model, version_key);
CREATE INDEX versions_by_digest ON versions (digest);
-- Two versions in production is a state that cannot be written, whatever the code does.
CREATE UNIQUE INDEX versions_production ON versions (tenant, model) WHERE stage = 'production';

-- The manifest's tags, to filter by.
CREATE TABLE version_tags (
    tenant  TEXT NOT NULL,
    model   TEXT NOT NULL,
    version TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (tenant, model, version, key),
    FOREIGN KEY (tenant, model, version) REFERENCES versions (tenant, model, version) ON DELETE CASCADE
) STRICT;

-- The manifest's transforms, so that a plugin in use cannot be deleted. One plugin may stand in a manifest twice.
CREATE TABLE version_plugins (
    tenant         TEXT NOT NULL,
    model          TEXT NOT NULL,
    version        TEXT NOT NULL,
    plugin         TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    PRIMARY KEY (tenant, model, version, plugin, plugin_version),
    FOREIGN KEY (tenant, model, version) REFERENCES versions (tenant, model, version) ON DELETE CASCADE,
    FOREIGN KEY (tenant, plugin, plugin_version) REFERENCES plugins (tenant, name, version)
) STRICT;
CREATE INDEX version_plugins_by_plugin ON version_plugins (tenant, plugin, plugin_version);

-- What a rollback returns to. The highest `position` of a model is the version in production.
CREATE TABLE production_stack (
    tenant   TEXT    NOT NULL,
    model    TEXT    NOT NULL,
    position INTEGER NOT NULL,
    version  TEXT    NOT NULL,
    PRIMARY KEY (tenant, model, position),
    FOREIGN KEY (tenant, model, version) REFERENCES versions (tenant, model, version) ON DELETE CASCADE
) STRICT;
CREATE INDEX production_stack_by_version ON production_stack (tenant, model, version);

-- What was done. Only ever added to; no foreign key, since a deleted version stays in its model's history.
CREATE TABLE promotions (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       TEXT    NOT NULL,
    model        TEXT    NOT NULL,
    action       TEXT    NOT NULL CHECK (action IN ('promote', 'rollback')),
    version      TEXT    NOT NULL,
    from_version TEXT,
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX promotions_by_model ON promotions (tenant, model, seq);
