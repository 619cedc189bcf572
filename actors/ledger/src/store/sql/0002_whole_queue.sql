-- Dependencies, expiry, deduplication, progress, pauses, the evidence of failed
-- attempts, and the chain of a task's events.
ALTER TABLE tasks ADD COLUMN expires_at INTEGER;
ALTER TABLE tasks ADD COLUMN dedup_key  TEXT;
ALTER TABLE tasks ADD COLUMN end_reason TEXT;
ALTER TABLE tasks ADD COLUMN progress   REAL;
ALTER TABLE tasks ADD COLUMN blocked_by INTEGER NOT NULL DEFAULT 0; -- edges below that it waits for
ALTER TABLE tasks ADD COLUMN dependents INTEGER NOT NULL DEFAULT 0; -- edges ever made to it
ALTER TABLE tasks ADD COLUMN last_event INTEGER;                    -- head of the chain of its events
ALTER TABLE events ADD COLUMN prev INTEGER;                         -- the event before, of the same task
ALTER TABLE results ADD COLUMN output_bytes INTEGER;

-- What waits for other tasks is due when these end, not at its time.
DROP INDEX tasks_due;
CREATE INDEX tasks_due    ON tasks (run_at)     WHERE status = 0 AND blocked_by = 0;
CREATE INDEX tasks_expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL AND status <= 1 AND attempt = 0;
CREATE UNIQUE INDEX tasks_dedup ON tasks (submitter, dedup_key) WHERE dedup_key IS NOT NULL AND status <= 2;
-- In order of submission, for lists of what is rare.
CREATE INDEX tasks_list_failed    ON tasks (status) WHERE status = 4;
CREATE INDEX tasks_list_cancelled ON tasks (status) WHERE status = 5;

CREATE TABLE dependencies (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependencies_child ON dependencies (child);

-- Tasks that have ended while others wait for them; what that means for these
-- is worked off some at a time.
CREATE TABLE settled (parent INTEGER PRIMARY KEY) STRICT;

CREATE TABLE failed_attempts (
    seq        INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    bot        TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    error      TEXT,
    exit_code  INTEGER,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

-- The type '' stands for the whole queue.
CREATE TABLE pauses (
    type   TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;
