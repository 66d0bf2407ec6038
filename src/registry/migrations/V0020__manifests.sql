-- Manifests lie apart from the rows that describe them: a run over all images of a repository reads rows of some 200 bytes, and
-- what changes often (pulled_at, untagged_at) is written without a manifest.
CREATE TABLE manifests (
    image_id {row_id},
    bytes BYTEA NOT NULL
);
INSERT INTO manifests (image_id, bytes) SELECT id, manifest FROM images ORDER BY id;
ALTER TABLE images DROP COLUMN manifest;
-- PostgreSQL leaves a dropped column in the rows until each is written again.
UPDATE images SET manifest_size = manifest_size;
-- What an image is made of, for its deletion.
CREATE INDEX image_references_by_image ON image_references (image_id, child);
