-- Garbage collection finds its work by indexes of what may be in use no longer, and looks at nothing else.
-- A blob that no repository links: when the collector looks at it. NULL for all others. A row means that the bytes are there, whoever
-- links them, so the state needs no column: what is being deleted has its row in blob_deletions instead.
ALTER TABLE blobs DROP COLUMN state;
ALTER TABLE blobs ADD COLUMN collect_at BIGINT;
CREATE INDEX blobs_to_collect ON blobs (collect_at, digest) WHERE collect_at IS NOT NULL;
UPDATE blobs SET collect_at = lease_until
    WHERE NOT EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = blobs.digest);

-- A link of which it is not known that an image needs it: when the collector looks at it.
ALTER TABLE blob_links ADD COLUMN check_at BIGINT;
CREATE INDEX blob_links_to_check ON blob_links (check_at, repository_id, digest) WHERE check_at IS NOT NULL;
UPDATE blob_links SET check_at = 0
    WHERE NOT EXISTS (SELECT 1 FROM image_references r
                      WHERE r.repository_id = blob_links.repository_id AND r.child = blob_links.digest);

-- Bytes that are being removed from the store. Whoever raises the version has the work until due_at.
CREATE TABLE blob_deletions (
    location TEXT NOT NULL PRIMARY KEY,
    digest BYTEA NOT NULL,
    size BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    version BIGINT NOT NULL
) {without_rowid};
CREATE INDEX blob_deletions_by_due ON blob_deletions (due_at);

-- Images that are gone and had more references than one transaction removes.
CREATE TABLE deleted_images (
    image_id {row_id},
    repository_id BIGINT NOT NULL
);
