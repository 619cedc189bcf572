-- Sessions in browsers. What proves one is its cookie, of which only a hash is here.
CREATE TABLE logins (
    id            BLOB PRIMARY KEY,
    user          TEXT    NOT NULL,
    key_id        BLOB,               -- the key that it was opened with, or
    issuer        TEXT,               -- the issuer of the token,
    role          TEXT,               -- and the role that this gave
    secret_sha256 BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    ip_address    TEXT,
    user_agent    TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX logins_of_user ON logins (user, last_seen_at);
