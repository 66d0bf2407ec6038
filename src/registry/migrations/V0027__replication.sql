-- Work that one of several servers does at a time. term grows with each change of hands.
CREATE TABLE work_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    term BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {without_rowid};

-- The replication of an image to one destination. due_at is null unless the replication is in progress; a claim moves it to the
-- claim's end. version grows with each push and each claim, so that a late worker changes nothing. backfill names the backfill
-- that asked for it, unless a push did.
CREATE TABLE image_replications (
    id {identity},
    repository_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    status TEXT NOT NULL,
    failure TEXT,
    version BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    due_at BIGINT,
    backfill TEXT
);
CREATE UNIQUE INDEX image_replications_by_image ON image_replications (repository_id, digest, account, region);
CREATE INDEX image_replications_due ON image_replications (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX image_replications_by_backfill ON image_replications (backfill, id) WHERE backfill IS NOT NULL;

-- The removal of a tag, or of an image where the tag is empty, from one destination.
CREATE TABLE replicated_deletions (
    id {identity},
    source_account TEXT NOT NULL,
    source_region TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest BYTEA NOT NULL,
    tag TEXT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    version BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX replicated_deletions_due ON replicated_deletions (due_at, id);

-- Backfills of a registry. While one is being prepared, prepared_repository and prepared_digest tell how far.
CREATE TABLE replication_backfills (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    to_account TEXT NOT NULL,
    to_region TEXT NOT NULL,
    status TEXT NOT NULL,
    failure TEXT,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    prepared_repository TEXT NOT NULL,
    prepared_digest BYTEA NOT NULL,
    total BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL
) {without_rowid};
CREATE INDEX replication_backfills_by_registry ON replication_backfills (account, region, started_at, id);
CREATE INDEX replication_backfills_unfinished ON replication_backfills (started_at, id) WHERE ended_at IS NULL;

-- An image of a backfill with one of its tags, or without one where the tag is empty.
CREATE TABLE backfill_results (
    backfill TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest BYTEA NOT NULL,
    tag TEXT NOT NULL,
    repository_id BIGINT NOT NULL,
    status TEXT NOT NULL,
    failure TEXT,
    PRIMARY KEY (backfill, repository, digest, tag)
) {without_rowid};
CREATE INDEX backfill_results_by_status ON backfill_results (backfill, status, failure);
