-- A session that was opened with a token ends when the token would not be taken any
-- more: when its key is withdrawn, or its issuer has other settings.
ALTER TABLE logins ADD COLUMN basis BLOB;   -- a hash of both; NULL: opened with a key
