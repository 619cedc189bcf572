-- Versions of the settings. One is in force: the newest that is confirmed or on probation.
CREATE TABLE settings_versions (
    version         INTEGER PRIMARY KEY,  -- from 1, without a gap
    at              INTEGER NOT NULL,     -- milliseconds since the epoch, as all times
    actor           TEXT    NOT NULL,
    origin          TEXT    NOT NULL,
    restores        INTEGER,              -- the version whose values were put back
    changes         TEXT    NOT NULL,     -- JSON, without the values of secrets
    outcome         TEXT    NOT NULL,
    reason          TEXT,
    probation_until INTEGER,
    confirm_by      INTEGER,
    confirmed_by    TEXT,
    content         TEXT    NOT NULL      -- JSON, without secrets
) STRICT;
CREATE INDEX settings_confirmed ON settings_versions (version) WHERE outcome = 'confirmed';
CREATE INDEX settings_open ON settings_versions (version) WHERE outcome IN ('pending', 'probation');

-- The hash of the file that was taken back ('rejected'), and the reason ('taken_back').
CREATE TABLE settings_notes (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
