-- The versions of models that a predictor's manifest grants it, so that one in use cannot be deleted. Two names may stand
-- for the same version.

CREATE TABLE version_graphs (
    tenant        TEXT NOT NULL,
    model         TEXT NOT NULL,
    version       TEXT NOT NULL,
    graph         TEXT NOT NULL,
    graph_version TEXT NOT NULL,
    PRIMARY KEY (tenant, model, version, graph, graph_version),
    FOREIGN KEY (tenant, model, version) REFERENCES versions (tenant, model, version) ON DELETE CASCADE,
    FOREIGN KEY (tenant, graph, graph_version) REFERENCES versions (tenant, model, version)
) STRICT;
CREATE INDEX version_graphs_by_graph ON version_graphs (tenant, graph, graph_version);
