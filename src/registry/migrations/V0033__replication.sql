-- Replications: what is to be done at a destination for an image, one row for each tag (empty for an image without a tag), and what came of it.
-- work: 'copy' (the image with its tag), 'untag' and 'delete' (what was removed at the source; the tag of an 'untag' follows a '-', that of a
-- 'delete' is '*', so that no row takes the place of a copy), 'forget' (the image is gone, its rows too; its
-- account and region are empty). state: 'waiting', 'complete', 'failed'. due_at is when somebody is to do it; who does it sets due_at to when its
-- claim ends, and version, which grows with each change, refuses the one who lost its claim. backfill is empty for what a push or deletion caused.
CREATE TABLE image_replications (
    repository_id BIGINT NOT NULL,
    backfill TEXT NOT NULL,
    digest BYTEA NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    tag TEXT NOT NULL,
    name TEXT NOT NULL,
    work TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at BIGINT,
    claimed BIGINT NOT NULL,
    version BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    failure_code TEXT NOT NULL,
    member_failures TEXT NOT NULL,
    PRIMARY KEY (repository_id, backfill, digest, account, region, tag)
) {without_rowid};
CREATE INDEX image_replications_due ON image_replications (account, region, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX image_replications_by_backfill ON image_replications (backfill, state, name, digest, tag) WHERE backfill <> '';

-- Replications of the images that a registry has already. The rows of its images are made in steps, from the position (next_name, next_digest) on;
-- total counts them, and is known once prepared is 1. due_at is when the next step is due; after the end, when the rows are removed.
CREATE TABLE replication_backfills (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    destination_account TEXT NOT NULL,
    destination_region TEXT NOT NULL,
    status TEXT NOT NULL,
    failure_code TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    prepared BIGINT NOT NULL,
    total BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    failure_codes TEXT NOT NULL,
    next_name TEXT NOT NULL,
    next_digest BYTEA NOT NULL,
    due_at BIGINT
) {without_rowid};
CREATE INDEX replication_backfills_by_registry ON replication_backfills (account, region, started_at, id);
CREATE INDEX replication_backfills_under_way ON replication_backfills (account, region, destination_region) WHERE ended_at IS NULL;
CREATE INDEX replication_backfills_due ON replication_backfills (due_at) WHERE due_at IS NOT NULL;
