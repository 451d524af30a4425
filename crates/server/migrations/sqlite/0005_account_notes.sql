-- The day of the last exchange of a device, as the second at which it began; written at most once a
-- day. NULL: none is known.
ALTER TABLE account ADD COLUMN synced_at INTEGER;
-- The longest btoken that the account may store, in bytes. NULL: the setting of the server.
ALTER TABLE account ADD COLUMN limit_len INTEGER CHECK (limit_len >= 0);
-- The operator's note.
ALTER TABLE account ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- Before this time nobody wrote down when an account was synced.
INSERT INTO property VALUES ('syncs_known_since', unixepoch());
