-- Bytes that only archived images need lie in a store of their own, the archive. A blob has a row here or in `blobs`, never in both: one that
-- is here does not exist for pulls and pushes, while repositories keep their links to it. `location` is a key of the archive, `encoding` is
-- 'identity' or 'zstd', and `stored_size` is what the archive holds.
CREATE TABLE archived_blobs (
    digest BYTEA NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    location TEXT NOT NULL,
    encoding TEXT NOT NULL,
    stored_size BIGINT NOT NULL,
    archived_at BIGINT NOT NULL
) {without_rowid};
CREATE INDEX archived_blobs_by_location ON archived_blobs (location);

-- When is looked whether a blob goes to the archive; NULL where nothing says that it may.
ALTER TABLE blobs ADD COLUMN archive_at BIGINT;
CREATE INDEX blobs_to_archive ON blobs (archive_at, digest) WHERE archive_at IS NOT NULL;

-- Archived images whose blobs have not all got their archive_at: those after `last_child` have not.
CREATE TABLE images_to_archive (
    image_id {row_id},
    last_child BYTEA
);
INSERT INTO images_to_archive (image_id) SELECT id FROM images WHERE status = 'archived' ORDER BY id;

-- Objects that are being written to the archive: the row comes before the bytes, so that a crash leaves nothing unknown. `location` is
-- known before the object gets its name in a folder, and with the row of archived_blobs in a bucket.
CREATE TABLE archive_writes (
    upload TEXT NOT NULL PRIMARY KEY,
    location TEXT
) {without_rowid};

-- Objects of the archive that no blob needs any more, to be removed from then on.
CREATE TABLE archive_removals (
    location TEXT NOT NULL PRIMARY KEY,
    due_at BIGINT NOT NULL
) {without_rowid};
CREATE INDEX archive_removals_by_due ON archive_removals (due_at);

-- `status` of an image may be 'activating' now: it comes back from the archive.
CREATE INDEX images_activating ON images (repository_id, digest) WHERE status = 'activating';
CREATE INDEX images_to_activate ON images (id) WHERE status = 'activating';
