-- What changed in the index and is not yet in the journal, which lies in the blob store. An entry names a row; what the row holds is read when
-- the entry is written to the journal. `kind` is repository, image, tag or link; images and links have a digest in stored form, tags a name.
CREATE TABLE journal_entries (
    id {identity},
    kind TEXT NOT NULL,
    repository_id BIGINT NOT NULL,
    digest BYTEA,
    name TEXT
);

-- The state of the journal, one row: the number of the newest segment, and how far everything has been written anew (`refresh` is
-- empty where that is not under way), with the number of the segment at which it began. Its writer has the lease `journal`.
CREATE TABLE journal (
    id BIGINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    refresh TEXT NOT NULL,
    refresh_repository BIGINT NOT NULL,
    refresh_digest BYTEA,
    refresh_name TEXT,
    refresh_number BIGINT NOT NULL,
    refreshed_bytes BIGINT NOT NULL
);
-- An index that is older than its journal is written to it as a whole, first.
INSERT INTO journal (id, number, refresh, refresh_repository, refresh_number, refreshed_bytes)
VALUES (1, 0, 'repository', 0, 0, 0);

-- Where a rebuild of this index stands, and which repository of the lost index is which one here. Empty but during a rebuild.
CREATE TABLE rebuild (
    id BIGINT NOT NULL PRIMARY KEY,
    segment BIGINT NOT NULL,
    record BIGINT NOT NULL
);
CREATE TABLE rebuilt_repositories (
    original BIGINT NOT NULL PRIMARY KEY,
    repository_id BIGINT NOT NULL
) {without_rowid};
CREATE TABLE rebuilt_tags (
    repository_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    image BYTEA NOT NULL,
    tagged_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
) {without_rowid};
