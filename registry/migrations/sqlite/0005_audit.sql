-- What `GET /v1/audit` looks rows up by. Each index holds the number of the row too, and so their order.
CREATE INDEX audit_by_actor ON audit (actor);
CREATE INDEX audit_by_action ON audit (action);
CREATE INDEX audit_by_result ON audit (result);
CREATE INDEX audit_by_time ON audit (at);
