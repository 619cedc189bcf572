-- Users own keys. Until now a user was a name on its keys: each gets the narrowest
-- role that covers the keys it has in force, and every key keeps its own.
CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT    NOT NULL,
    active     INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO users (name, role, active, version, created_at, changed_at)
SELECT user,
       CASE WHEN sum(live AND role = 'admin') THEN 'admin'
            WHEN sum(live AND role = 'operator') THEN 'operator'
            WHEN sum(live AND role = 'external') AND sum(live AND role IN ('viewer', 'bot')) THEN 'operator'
            WHEN sum(live AND role = 'viewer') THEN 'viewer'
            WHEN sum(live AND role = 'bot') THEN 'bot'
            ELSE 'external' END,
       1, 1, min(created_at), min(created_at)
FROM (SELECT user, role, created_at, revoked_at IS NULL AS live FROM keys)
GROUP BY user;

ALTER TABLE keys ADD COLUMN name         TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN scopes       TEXT;    -- JSON list of permissions; NULL: all of the role
ALTER TABLE keys ADD COLUMN allow_ips    TEXT;    -- JSON list of addresses and ranges; NULL: any
ALTER TABLE keys ADD COLUMN bot          TEXT;
ALTER TABLE keys ADD COLUMN family       BLOB;    -- the first key of its rotation; NULL: itself
ALTER TABLE keys ADD COLUMN last_used_at INTEGER;

-- Who is confined to their own tasks lists those that failed without a look at others.
CREATE INDEX tasks_failed_of    ON tasks (submitter) WHERE status = 4;
CREATE INDEX tasks_cancelled_of ON tasks (submitter) WHERE status = 5;
