-- An upload session ends in two steps: its row becomes 'ending', which no operation of a client finds, then its bytes are removed, then the row.
-- What a crash leaves is removed by whoever finds the row. `version` grows with each claim and each change: who holds an older one has lost the session.
ALTER TABLE uploads ADD COLUMN state TEXT NOT NULL DEFAULT 'open';
-- Who opened it: open sessions of one caller are limited.
ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- The digest under which its bytes may have been published.
ALTER TABLE uploads ADD COLUMN digest BYTEA;
-- 1 once a request on it failed or died: the store may hold bytes of it that `staged` does not name.
ALTER TABLE uploads ADD COLUMN unclean BIGINT NOT NULL DEFAULT 0;
CREATE INDEX uploads_by_owner ON uploads (owner) WHERE state = 'open';
