-- What operators did. Rows are removed after a year, and the oldest if there are too many.
CREATE TABLE audit (
    id       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,                                     -- seconds since 1970
    uid      INTEGER NOT NULL,
    user     TEXT,                                                 -- the name, if it was known
    sudo_uid INTEGER,                                              -- as sudo gave it
    action   TEXT    NOT NULL,
    account  BLOB    CHECK (account IS NULL OR length(account) = 8),
    detail   TEXT    NOT NULL
) STRICT;

-- Single facts about the store, by name:
--   program       the version of the program that made this schema; older programs read it
--   audit_logged  the id of the last row of audit that a server has written to its log
CREATE TABLE property (
    name  TEXT NOT NULL PRIMARY KEY,
    value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO property VALUES ('audit_logged', 0);
