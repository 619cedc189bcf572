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
    suspicions          INTEGER NOT NULL DEFAULT 0, -- deaths of a bot that it is only suspected of
    hive_deaths         INTEGER NOT NULL DEFAULT 0, -- deaths of the whole hive
    timeout_seconds     INTEGER NOT NULL,
    bot                 TEXT,
    lease               BLOB,             -- 128 random bits; NULL: it does not run
    lease_node          INTEGER,          -- the node that gave the lease
    lease_incarnation   INTEGER,          -- the start of the bot that holds it
    lease_expires_at    INTEGER,          -- NULL: it ends with its bot
    execution_ms        INTEGER,
    cancel_requested_at INTEGER,
    last_error          TEXT,
    bytes               INTEGER NOT NULL DEFAULT 0, -- of content and metadata
    erased_at           INTEGER,          -- then content, output and errors were erased
    expires_at          INTEGER,
    dedup_key           TEXT,
    end_reason          TEXT,
    progress            REAL,
    blocked_by          INTEGER NOT NULL DEFAULT 0, -- dependencies that it waits for
    dependents          INTEGER NOT NULL DEFAULT 0, -- dependencies ever made to it
    last_event          INTEGER,          -- head of the chain of its events
    events              INTEGER NOT NULL DEFAULT 0 -- how many there have been
) STRICT;

CREATE UNIQUE INDEX tasks_id ON tasks (id);
-- The rowid (seq) is the last column of every index, so these are in order of submission.
CREATE INDEX tasks_ready   ON tasks (type, priority) WHERE status = 1;
-- What waits for other tasks is due when these end, not at its time.
CREATE INDEX tasks_due     ON tasks (run_at)         WHERE status = 0 AND blocked_by = 0;
CREATE INDEX tasks_expiry  ON tasks (expires_at)     WHERE expires_at IS NOT NULL AND status <= 1 AND attempt = 0;
CREATE INDEX tasks_lease_expiry ON tasks (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE UNIQUE INDEX tasks_dedup ON tasks (submitter, dedup_key) WHERE dedup_key IS NOT NULL AND status <= 2;
CREATE INDEX tasks_running ON tasks (bot)            WHERE status = 2;
CREATE INDEX tasks_failed  ON tasks (completed_at)   WHERE status = 4;
-- In order of submission, for lists of what is rare.
CREATE INDEX tasks_list_failed    ON tasks (status) WHERE status = 4;
CREATE INDEX tasks_list_cancelled ON tasks (status) WHERE status = 5;
-- Callers who see only their own tasks list them often, without a look at others.
CREATE INDEX tasks_submitter    ON tasks (submitter);
CREATE INDEX tasks_failed_of    ON tasks (submitter) WHERE status = 4;
CREATE INDEX tasks_cancelled_of ON tasks (submitter) WHERE status = 5;
-- A status in this condition would have the index looked after by every change of a
-- task: it would cost six times as much.
CREATE INDEX tasks_of_bot ON tasks (bot) WHERE bot IS NOT NULL;

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
    exit_code   INTEGER,
    output_bytes INTEGER,
    failure_class TEXT
) STRICT;

CREATE TABLE dependencies (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependencies_child ON dependencies (child);

-- Tasks that have ended while others wait for them; what that means for these
-- is worked off some at a time.
CREATE TABLE dependency_outbox (parent INTEGER PRIMARY KEY) STRICT;

CREATE TABLE failed_attempts (
    seq        INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    bot        TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    error      TEXT,
    exit_code  INTEGER,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    failure_class TEXT,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

-- The type '' stands for the whole queue.
CREATE TABLE pauses (
    type   TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;

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

-- Numbers are gapless and in the order of commits, and never come again: the newest
-- row is never deleted. What is needed to filter and to describe an event stands in
-- its row, as the task may be forgotten by then. Every task writes at least three rows:
-- what follows from other columns is not stored, and numbers are not written as JSON.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    action      TEXT    NOT NULL,
    level       INTEGER NOT NULL,
    actor       TEXT,                     -- NULL: the bot, or the owner if there is none
    target_type TEXT,                     -- NULL: as the kind of the action
    target      ANY     NOT NULL,         -- a BLOB: the id of a task
    owner       TEXT,                     -- whose visibility decides; NULL: of nobody
    result      INTEGER NOT NULL,
    task_type   TEXT,
    bot         TEXT,                     -- of a task that one has or had
    attempt     INTEGER,
    status      INTEGER,                  -- of the task, after the event
    wait_ms     INTEGER,                  -- of the attempt; shown among the details
    run_ms      INTEGER,
    tags        TEXT,                     -- JSON
    session_id  TEXT,
    v           INTEGER NOT NULL DEFAULT 1, -- form of the details
    details     TEXT,                     -- JSON
    trace_id    TEXT,
    prev        INTEGER,                  -- the event before, of the same task
    ordinal     INTEGER                   -- its number among those of its task, from 1
) STRICT;

-- Histories of the log: a restore begins a new one, whose first event has that number.
-- Events of earlier numbers keep the timeline that they were recorded in.
CREATE TABLE timelines (
    timeline  INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL
) STRICT;
INSERT INTO timelines (timeline, first_seq) VALUES (1, 1);

-- How far each follower of the event log is. What it makes of the events is written
-- in the transaction that moves its cursor.
CREATE TABLE followers (
    name     TEXT PRIMARY KEY,
    timeline INTEGER NOT NULL,
    seq      INTEGER NOT NULL,            -- the last event that it has taken in
    moved_at INTEGER NOT NULL,
    binding  INTEGER NOT NULL             -- 1: events that it has not taken in are kept
) STRICT, WITHOUT ROWID;

-- Counts by hour, task type and bot ('' for what no bot has to do with), made by the
-- follower `statistics`.
CREATE TABLE statistics (
    hour      INTEGER NOT NULL,           -- since the epoch
    type      TEXT    NOT NULL,
    bot       TEXT    NOT NULL,
    submitted INTEGER NOT NULL,
    started   INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    returned  INTEGER NOT NULL,
    waits     BLOB    NOT NULL,           -- histograms of milliseconds
    runs      BLOB    NOT NULL,
    PRIMARY KEY (hour, type, bot)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    role       TEXT    NOT NULL,
    active     INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id            BLOB PRIMARY KEY,
    user          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER,
    name          TEXT    NOT NULL DEFAULT '',
    scopes        TEXT,                   -- JSON list of permissions; NULL: all of the role
    allow_ips     TEXT,                   -- JSON list of addresses and ranges; NULL: any
    bot           TEXT,
    family        BLOB,                   -- the first key of its rotation; NULL: itself
    last_used_at  INTEGER
) STRICT, WITHOUT ROWID;

-- Sessions in browsers. What proves one is its cookie, of which only a hash is here.
CREATE TABLE web_sessions (
    id            BLOB PRIMARY KEY,
    user          TEXT    NOT NULL,
    key_id        BLOB,                   -- the key that it was opened with, or
    issuer        TEXT,                   -- the issuer of the token,
    role          TEXT,                   -- and the role that this gave
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    ip_address    TEXT,
    user_agent    TEXT,
    trust_anchor         BLOB                    -- hash of the issuer's key and settings; NULL: opened with a key
) STRICT, WITHOUT ROWID;
CREATE INDEX web_sessions_of_user ON web_sessions (user, last_seen_at);
