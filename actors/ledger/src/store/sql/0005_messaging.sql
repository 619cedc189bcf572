-- Messages between bots. Status: 0 queued, 1 delivered, 2 read, 3 failed, 4 expired.
CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY,      -- in the order in which they were accepted
    id           BLOB    NOT NULL,
    sender_bot   TEXT,                     -- NULL: an operator in person
    sent_by      TEXT    NOT NULL,
    receiver_bot TEXT    NOT NULL,
    session_id   BLOB,
    priority     INTEGER NOT NULL,
    status       INTEGER NOT NULL,
    sent_at      INTEGER NOT NULL,         -- milliseconds since the epoch, as all times
    delivered_at INTEGER,
    read_at      INTEGER,
    expires_at   INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER NOT NULL,         -- from then on it may be delivered (again)
    closes_at    INTEGER NOT NULL,         -- then it expires or fails, unless it was read
    ended_at     INTEGER,
    failure      TEXT,
    content      TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_id      ON messages (id);
-- The rowid (seq) is the last column of every index.
CREATE INDEX messages_inbox    ON messages (receiver_bot, priority) WHERE status <= 1;
CREATE INDEX messages_open     ON messages (closes_at)              WHERE status <= 1;
CREATE INDEX messages_ended    ON messages (ended_at)               WHERE status >= 2;
CREATE INDEX messages_receiver ON messages (receiver_bot);
CREATE INDEX messages_sender   ON messages (sender_bot)             WHERE sender_bot IS NOT NULL;
CREATE INDEX messages_session  ON messages (session_id)             WHERE session_id IS NOT NULL;
