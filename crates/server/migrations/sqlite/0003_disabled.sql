-- 1 while the operator lets nobody use the account: it is refused like a wrong auth token.
ALTER TABLE account ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1));
