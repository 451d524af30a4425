-- What the server knows of an account, and nothing else. Small rows, so that a stranger's
-- attempt to authenticate reads one of them and never a btoken.
CREATE TABLE account (
    number      BLOB    NOT NULL PRIMARY KEY CHECK (length(number) = 8),
    auth_hash   BLOB    NOT NULL CHECK (length(auth_hash) = 32),   -- SHA-256 of the auth token
    btoken_hash BLOB    NOT NULL CHECK (length(btoken_hash) = 32), -- SHA-256 of the btoken
    btoken_len  INTEGER NOT NULL CHECK (btoken_len >= 0),          -- bytes
    btoken_id   INTEGER NOT NULL REFERENCES btoken (id),
    created_at  INTEGER NOT NULL,                                  -- seconds since 1970
    changed_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE btoken (
    id      INTEGER NOT NULL PRIMARY KEY,
    content BLOB    NOT NULL
) STRICT;

-- Counting a million accounts takes longer than a create; this row is changed with them.
CREATE TABLE totals (
    one          INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    accounts     INTEGER NOT NULL CHECK (accounts >= 0),
    btoken_bytes INTEGER NOT NULL CHECK (btoken_bytes >= 0)
) STRICT;

INSERT INTO totals VALUES (1, 0, 0);
