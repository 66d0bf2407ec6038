-- Keys that sign images, each under the name of a signing profile. The private key is sealed under the master key; the public one is PEM.
CREATE TABLE signing_keys (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    public_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
) {without_rowid};

-- Signatures of images by profile. The row is written by the push, in its transaction. A waiting one is due at a time, which is also how long somebody who works
-- on it has it; the number of attempts tells one claim from another. The signature is stored before it is pushed, so that a second attempt pushes the same bytes.
CREATE TABLE image_signatures (
    repository_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    profile TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    pushed_at BIGINT NOT NULL,
    signature BYTEA,
    failure_code TEXT NOT NULL,
    failure_reason TEXT NOT NULL,
    PRIMARY KEY (repository_id, digest, profile)
) {without_rowid};
CREATE INDEX image_signatures_due ON image_signatures (due_at) WHERE state = 'waiting';

-- The media type that the image's manifest states for the content; empty for images that were pushed before.
ALTER TABLE image_references ADD COLUMN media_type TEXT NOT NULL DEFAULT '';
