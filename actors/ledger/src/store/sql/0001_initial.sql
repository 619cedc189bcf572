-- Times are milliseconds since the Unix epoch. Status: 0 pending, 1 queued,
-- 2 running, 3 completed, 4 failed, 5 cancelled.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB    NOT NULL,
    type                TEXT    NOT NULL,
    priority            INTEGER NOT NULL,
    status              INTEGER NOT NULL,
    submitter           TEXT    NOT NULL,
    content             TEXT,             -- NULL: in the table contents
    extra               TEXT,             -- JSON: tags, metadata, estimate; NULL: none
    traceparent         TEXT,
    created_at          INTEGER NOT NULL,
    run_at              INTEGER NOT NULL,
    ready_since         INTEGER,          -- NULL: run_at, as no attempt was given back since
    started_at          INTEGER,
    completed_at        INTEGER,
    attempt             INTEGER NOT NULL DEFAULT 0,
    failures            INTEGER NOT NULL DEFAULT 0,
    max_attempts        INTEGER NOT NULL,
    bot_deaths          INTEGER NOT NULL DEFAULT 0,
    timeout_seconds     INTEGER NOT NULL,
    bot                 TEXT,
    lease               BLOB,
    execution_ms        INTEGER,
    cancel_requested_at INTEGER,
    last_error          TEXT,
    bytes               INTEGER NOT NULL DEFAULT 0, -- of content and metadata
    erased_at           INTEGER           -- then content, output and errors were erased
) STRICT;

CREATE UNIQUE INDEX tasks_id ON tasks (id);
-- The rowid (seq) is the last column of every index, so these are in order of submission.
CREATE INDEX tasks_ready   ON tasks (type, priority) WHERE status = 1;
CREATE INDEX tasks_due     ON tasks (run_at)         WHERE status = 0;
CREATE INDEX tasks_running ON tasks (bot)            WHERE status = 2;
CREATE INDEX tasks_failed  ON tasks (completed_at)   WHERE status = 4;
-- Who is confined to their own tasks lists them often.
CREATE INDEX tasks_submitter ON tasks (submitter);

-- Content too large to be rewritten with every change of its task.
CREATE TABLE contents (
    seq     INTEGER PRIMARY KEY,
    content TEXT NOT NULL
) STRICT;

CREATE TABLE results (
    seq         INTEGER PRIMARY KEY,
    success     INTEGER NOT NULL,
    output      TEXT,
    error       TEXT,
    tokens_used INTEGER,
    cost_cents  INTEGER,
    exit_code   INTEGER
) STRICT;

-- Tasks whose rows the running version cannot decode. Cleared by each start.
CREATE TABLE unreadable (
    seq INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE task_counts (
    type     TEXT    NOT NULL,
    priority INTEGER NOT NULL,
    status   INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (type, priority, status)
) STRICT, WITHOUT ROWID;

-- Counters of each submitter that has any; the name '' stands for all submitters.
CREATE TABLE submitters (
    name          TEXT PRIMARY KEY,
    waiting       INTEGER NOT NULL,       -- tasks that are pending or queued
    waiting_bytes INTEGER NOT NULL,       -- of their content and metadata
    types         INTEGER NOT NULL,       -- rows in submitter_types
    answers       INTEGER NOT NULL,       -- rows in idempotency
    answer_bytes  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE submitter_types (
    submitter TEXT    NOT NULL,
    type      TEXT    NOT NULL,
    tasks     INTEGER NOT NULL,
    PRIMARY KEY (submitter, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    action   TEXT    NOT NULL,
    level    INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    result   INTEGER NOT NULL,
    details  TEXT,
    trace_id TEXT
) STRICT;

CREATE TABLE idempotency (
    submitter   TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    answer      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (submitter, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX idempotency_of  ON idempotency (submitter, created_at);

-- Values are sealed with a key of secrets.key; the name is bound to them.
CREATE TABLE secrets (
    name       TEXT PRIMARY KEY,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bots (
    name            TEXT PRIMARY KEY,
    spec            TEXT    NOT NULL,
    launched        INTEGER,              -- NULL: never, 1: launched, 0: stopped
    version         INTEGER NOT NULL,
    port            INTEGER NOT NULL UNIQUE,
    created_at      INTEGER NOT NULL,
    launched_at     INTEGER,
    tasks_completed INTEGER NOT NULL DEFAULT 0,
    tasks_failed    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id            BLOB PRIMARY KEY,
    user          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;
