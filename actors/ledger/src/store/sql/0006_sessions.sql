-- Sessions of users with bots.
CREATE TABLE sessions (
    id                 BLOB    PRIMARY KEY,  -- in the order in which they were started
    user               TEXT    NOT NULL,
    bot                TEXT,                 -- NULL: the one that gets the next task
    fails              INTEGER NOT NULL,     -- 1: it ends when its bot dies; 0: it gets another
    created_at         INTEGER NOT NULL,     -- milliseconds since the epoch, as all times
    last_activity      INTEGER NOT NULL,
    idle_ms            INTEGER NOT NULL,
    idle_at            INTEGER NOT NULL,     -- then it ends, unless a task of it is unfinished
    ended_at           INTEGER,              -- NULL: it is active
    end_reason         TEXT,
    cancelled_by       TEXT,                 -- waiting tasks are to be cancelled, for this user
    tasks_submitted    INTEGER NOT NULL DEFAULT 0,
    messages_exchanged INTEGER NOT NULL DEFAULT 0,
    ip_address         TEXT,
    user_agent         TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user, id);
CREATE INDEX sessions_active  ON sessions (user)     WHERE ended_at IS NULL;
CREATE INDEX sessions_idle    ON sessions (idle_at)  WHERE ended_at IS NULL;
CREATE INDEX sessions_ended   ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_of_bot  ON sessions (bot)      WHERE ended_at IS NULL AND bot IS NOT NULL;
CREATE INDEX sessions_cancel  ON sessions (id)       WHERE cancelled_by IS NOT NULL;

ALTER TABLE tasks ADD COLUMN session BLOB;
-- The bot that alone may run the task: that of its session, until the task ends.
ALTER TABLE tasks ADD COLUMN pinned TEXT;

-- No further index of a task depends on its status: each would make every change of every
-- task slower.
DROP INDEX tasks_ready;
CREATE INDEX tasks_ready ON tasks (type, priority, pinned) WHERE status = 1;
CREATE INDEX tasks_pinned ON tasks (pinned) WHERE pinned IS NOT NULL;
CREATE INDEX tasks_of_session ON tasks (session) WHERE session IS NOT NULL;
