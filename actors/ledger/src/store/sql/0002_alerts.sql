-- Alerts: conditions that need a person. Of each name and target one at most is open.
CREATE TABLE alerts (
    id              BLOB    PRIMARY KEY,  -- in the order in which they were raised
    name            TEXT    NOT NULL,
    target_type     TEXT    NOT NULL,
    target          TEXT    NOT NULL,
    level           INTEGER NOT NULL,     -- 0 info, 1 warning, 2 critical
    since           INTEGER NOT NULL,     -- milliseconds since the epoch, as all times
    last_seen       INTEGER NOT NULL,
    what            TEXT    NOT NULL,
    what_to_do      TEXT    NOT NULL,
    acknowledged_by TEXT,
    acknowledged_at INTEGER,
    resolved_at     INTEGER               -- NULL: open
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_open     ON alerts (name, target_type, target) WHERE resolved_at IS NULL;
CREATE INDEX        alerts_resolved ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;
