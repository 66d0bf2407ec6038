-- The registry's index. A registry is (account, region). Times are milliseconds since the epoch. Digests are stored as one byte for the
-- algorithm and the hash (oci::Digest::to_stored), which sorts as the text does.

CREATE TABLE repositories (
    id {identity},
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    mutability TEXT NOT NULL,
    mutability_filters TEXT NOT NULL,
    scan TEXT NOT NULL,
    encryption TEXT NOT NULL,
    tags TEXT NOT NULL,
    policy_id BIGINT
);
CREATE UNIQUE INDEX repositories_by_name ON repositories (account, region, name);

-- Texts are kept apart so that a repository's row stays small; an id is never used twice, so what was compiled from a text never goes stale.
CREATE TABLE repository_policies (
    id {identity},
    repository_id BIGINT NOT NULL,
    text TEXT NOT NULL,
    set_at BIGINT NOT NULL
);
CREATE INDEX repository_policies_by_repository ON repository_policies (repository_id);

-- A row of state 'present' means that the bytes are there, under the key. The lease keeps a blob that nothing links yet, or no more.
CREATE TABLE blobs (
    digest BYTEA NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) {without_rowid};

CREATE TABLE blob_links (
    repository_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    linked_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest)
) {without_rowid};
CREATE INDEX blob_links_by_digest ON blob_links (digest, repository_id);

CREATE TABLE images (
    id {identity},
    repository_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    media_type TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    subject BYTEA,
    content_size BIGINT NOT NULL,
    manifest_size BIGINT NOT NULL,
    pushed_at BIGINT NOT NULL,
    pulled_at BIGINT,
    untagged_at BIGINT,
    manifest BYTEA NOT NULL
);
CREATE UNIQUE INDEX images_by_digest ON images (repository_id, digest);
CREATE INDEX images_by_subject ON images (repository_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;
-- Images that no tag names, since when: listings of them do not look at the tagged ones.
CREATE INDEX images_untagged ON images (repository_id, digest) WHERE untagged_at IS NOT NULL;

CREATE TABLE tags (
    repository_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    image_id BIGINT NOT NULL,
    tagged_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
) {without_rowid};
CREATE INDEX tags_by_image ON tags (image_id, name);

-- What an image is made of: config and layers, or the members of an index. Answers "who needs this content?".
CREATE TABLE image_references (
    repository_id BIGINT NOT NULL,
    child BYTEA NOT NULL,
    image_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (repository_id, child, image_id)
) {without_rowid};

-- An upload session: what the blob store needs to go on (staged) is rewritten after every part; version refuses the stale writer.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    staged BYTEA NOT NULL,
    size BIGINT NOT NULL,
    last_part_size BIGINT NOT NULL,
    short_parts BIGINT NOT NULL,
    version BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) {without_rowid};
CREATE INDEX uploads_by_age ON uploads (updated_at);
CREATE INDEX uploads_by_repository ON uploads (repository_id);
