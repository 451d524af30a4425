-- What the server knows of an account, with its btoken. A btoken that is longer than 2 KB is stored
-- beside the row, so that an attempt to authenticate reads a small row and never a btoken.
CREATE TABLE passmate.account (
    number     bytea   NOT NULL PRIMARY KEY CHECK (octet_length(number) = 8),
    auth_hash  bytea   NOT NULL CHECK (octet_length(auth_hash) = 32), -- SHA-256 of the auth token
    -- Each commit draws 16 random bytes. A btoken is replaced only while its revision is still the
    -- one that its client saw.
    revision   bytea   NOT NULL CHECK (octet_length(revision) = 16),
    checksum   bigint  NOT NULL,                       -- CRC-64/NVME of the btoken, which finds damage
    btoken_len bigint  NOT NULL CHECK (btoken_len >= 0), -- bytes
    created_at bigint  NOT NULL,                       -- seconds since 1970
    changed_at bigint  NOT NULL,
    -- The day of the last exchange of a device, as the second at which it began. NULL: none is known.
    synced_at  bigint,
    -- True from an invited create to the first update: a device that did not hear the answer asks
    -- again, and gets the same account.
    admitted   boolean NOT NULL DEFAULT false,
    -- True while the operator lets nobody use the account: it is refused like a wrong auth token.
    disabled   boolean NOT NULL DEFAULT false,
    -- The longest btoken that the account may store, in bytes. NULL: the setting of the server.
    limit_len  bigint  CHECK (limit_len >= 0),
    note       text    NOT NULL DEFAULT '',            -- the operator's
    btoken     bytea   NOT NULL
-- Room in each page for the next version of a row, so that an update needs no change of an index.
) WITH (fillfactor = 80);

-- Sealed bytes cannot be compressed.
ALTER TABLE passmate.account ALTER COLUMN btoken SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX account_admitted ON passmate.account (auth_hash) WHERE admitted;

-- The totals are the sums over all slots. A transaction changes one slot, so that commits seldom wait
-- for each other; a single slot may be below zero.
CREATE TABLE passmate.totals (
    slot         integer NOT NULL PRIMARY KEY,
    accounts     bigint  NOT NULL,
    btoken_bytes bigint  NOT NULL
) WITH (fillfactor = 20);

INSERT INTO passmate.totals SELECT slot, 0, 0 FROM generate_series(0, 63) AS slot;

-- Who may make an account while nobody else may: the SHA-256 of the auth token that a device will
-- come with. A row goes when it is used and when it has expired.
CREATE TABLE passmate.invite (
    auth_hash  bytea  NOT NULL PRIMARY KEY CHECK (octet_length(auth_hash) = 32),
    note       text   NOT NULL,
    made_at    bigint NOT NULL,
    expires_at bigint NOT NULL
);

-- Seats that anybody may take for a while.
CREATE TABLE passmate.opening (
    id         bigint  NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    seats      integer NOT NULL CHECK (seats > 0),     -- that are left
    made_at    bigint  NOT NULL,
    expires_at bigint  NOT NULL
);

-- What operators did. Rows are removed after a year, and the oldest if there are too many.
CREATE TABLE passmate.audit (
    id       bigint NOT NULL PRIMARY KEY,
    at       bigint NOT NULL,
    uid      bigint NOT NULL,
    username text,                                     -- if it was known
    sudo_uid bigint,                                   -- as sudo gave it
    action   text   NOT NULL,
    account  bytea  CHECK (octet_length(account) = 8),
    detail   text   NOT NULL
);

-- Numbers by name:
--   schema             the schema, changed by its steps alone
--   audit_last         the id of the last row of audit; its row lock puts them in order
--   audit_logged       the id of the last row of audit that a server has written to its log
--   syncs_known_since  before this time nobody wrote down when an account was synced
CREATE TABLE passmate.property (
    name  text   NOT NULL PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 20);

INSERT INTO passmate.property VALUES
    ('schema', 1), ('audit_last', 0), ('audit_logged', 0),
    ('syncs_known_since', floor(extract(epoch FROM now()))::bigint);
