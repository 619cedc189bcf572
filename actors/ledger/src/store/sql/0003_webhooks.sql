-- Endpoints that get events. Their keys are in the table secrets.
CREATE TABLE webhooks (
    id               BLOB    PRIMARY KEY,  -- in the order of registration
    owner            TEXT    NOT NULL,
    role             TEXT    NOT NULL,     -- of the credential that registered it
    issuer           TEXT,                 -- of the token, if the owner has no row in users
    spec             TEXT    NOT NULL,     -- JSON
    version          INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,     -- milliseconds since the epoch, as all times
    changed_at       INTEGER NOT NULL,
    changed_after    INTEGER NOT NULL,     -- the last event before the last change
    public_key       TEXT,
    old_secret_until INTEGER,
    disabled_at      INTEGER,              -- NULL: enabled
    disabled_reason  TEXT,
    disabled_detail  TEXT,
    disabled_by      TEXT,
    failures         INTEGER NOT NULL DEFAULT 0, -- deliveries since the last that succeeded
    failing_since    INTEGER,
    last_success_at  INTEGER,
    last_failure_at  INTEGER,
    last_error       TEXT,
    waiting          INTEGER NOT NULL DEFAULT 0, -- deliveries that wait for a retry
    -- Matching events up to here were delivered or wait for a retry; NULL: up to the
    -- cursor of the follower `webhooks`, which is moved in the same transaction.
    cursor_timeline  INTEGER,
    cursor_seq       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_owner    ON webhooks (owner, id);
CREATE INDEX webhooks_waiting  ON webhooks (id)            WHERE waiting > 0;
CREATE INDEX webhooks_failing  ON webhooks (failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX webhooks_disabled ON webhooks (disabled_at)   WHERE disabled_at IS NOT NULL;

-- Ranges of which a disabled endpoint got no events.
CREATE TABLE webhook_missed (
    webhook BLOB    NOT NULL,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    PRIMARY KEY (webhook, from_at)
) STRICT, WITHOUT ROWID;

-- Deliveries that wait for a retry, and a bounded history of others. State: 0 waiting,
-- 1 delivered, 2 failed.
CREATE TABLE webhook_deliveries (
    webhook  BLOB    NOT NULL,
    message  BLOB    NOT NULL,
    timeline INTEGER NOT NULL,
    seq      INTEGER NOT NULL,             -- of the event
    action   TEXT    NOT NULL,
    owner    TEXT,                         -- whose visibility decides; NULL: of nobody
    state    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    next_at  INTEGER,
    body     TEXT,                         -- NULL: it does not wait
    PRIMARY KEY (webhook, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_list  ON webhook_deliveries (webhook, first_at, message);
CREATE INDEX webhook_deliveries_of    ON webhook_deliveries (webhook, next_at) WHERE state = 0;
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (webhook, last_at) WHERE state > 0;

CREATE TABLE webhook_attempts (
    webhook     BLOB    NOT NULL,
    message     BLOB    NOT NULL,
    attempt     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status      INTEGER,
    error       TEXT,
    response    TEXT    NOT NULL,
    truncated   INTEGER NOT NULL,
    PRIMARY KEY (webhook, message, attempt)
) STRICT, WITHOUT ROWID;

-- State: 0 running, 1 completed, 2 stopped.
CREATE TABLE webhook_replays (
    id              BLOB    PRIMARY KEY,
    webhook         BLOB    NOT NULL,
    actor           TEXT    NOT NULL,
    from_at         INTEGER NOT NULL,
    to_at           INTEGER NOT NULL,
    after_seq       INTEGER NOT NULL,      -- before its oldest event
    upto            INTEGER NOT NULL,      -- its newest event
    cursor_timeline INTEGER NOT NULL,
    cursor_seq      INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    delivered       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX        webhook_replays_of      ON webhook_replays (webhook, id);
CREATE UNIQUE INDEX webhook_replays_running ON webhook_replays (webhook) WHERE state = 0;
