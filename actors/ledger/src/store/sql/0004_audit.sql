-- The last checkpoint of the audit trail that is known here. The trail itself is in files; with
-- this a trail that was rolled back, replaced or removed is noticed.
CREATE TABLE audit_trail (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    origin     TEXT    NOT NULL,
    size       INTEGER NOT NULL,  -- entries
    root       BLOB    NOT NULL,
    checkpoint TEXT    NOT NULL   -- the signed note
) STRICT;
