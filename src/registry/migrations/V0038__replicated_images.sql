-- Whether a replication brought the image and nobody has pushed it since: only such images are deleted by replications.
ALTER TABLE images ADD COLUMN replicated BIGINT NOT NULL DEFAULT 0;
