-- The level at which features are shed, as an operator has set it: one row at most.
CREATE TABLE operator_level (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    level  INTEGER NOT NULL CHECK (level BETWEEN 0 AND 4),
    reason TEXT    NOT NULL,
    actor  TEXT    NOT NULL,
    since  INTEGER NOT NULL,  -- milliseconds since the epoch, as all times
    until  INTEGER NOT NULL
) STRICT;
