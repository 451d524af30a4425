-- Who may make an account while nobody else may: the SHA-256 of the auth token that a device will come with. A row
-- goes, and its note with it, when it is used and when it has expired.
CREATE TABLE invite (
    auth_hash  BLOB    NOT NULL PRIMARY KEY CHECK (length(auth_hash) = 32),
    note       TEXT    NOT NULL,
    made_at    INTEGER NOT NULL,                                   -- seconds since 1970
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Seats that anybody may take for a while.
CREATE TABLE opening (
    id         INTEGER NOT NULL PRIMARY KEY,
    seats      INTEGER NOT NULL CHECK (seats > 0),                 -- that are left
    made_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- 1 from an invited create to the first update: a device that did not hear the answer asks again, and gets the same account.
ALTER TABLE account ADD COLUMN admitted INTEGER NOT NULL DEFAULT 0 CHECK (admitted IN (0, 1));
CREATE UNIQUE INDEX account_admitted ON account (auth_hash) WHERE admitted = 1;
