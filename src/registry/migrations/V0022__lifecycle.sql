-- Lifecycle policies, and what they need to know of an image. `status` is 'active' or 'archived'. `aged_from` is when the image was pushed
-- or, if that was later, restored from the archive: an evaluation reads the images of a repository in this order.
ALTER TABLE images ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
ALTER TABLE images ADD COLUMN archived_at BIGINT;
ALTER TABLE images ADD COLUMN activated_at BIGINT;
ALTER TABLE images ADD COLUMN aged_from BIGINT NOT NULL DEFAULT 0;
UPDATE images SET aged_from = pushed_at;
CREATE INDEX images_by_age ON images (repository_id, aged_from, id);
CREATE INDEX images_archived ON images (repository_id, digest) WHERE status = 'archived';

-- `version` grows with each change and each claim: an evaluation that holds an older one changes nothing any more.
CREATE TABLE lifecycle_policies (
    repository_id BIGINT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    version BIGINT NOT NULL,
    evaluated_at BIGINT,
    due_at BIGINT NOT NULL,
    claimed_until BIGINT NOT NULL
) {without_rowid};
CREATE INDEX lifecycle_policies_due ON lifecycle_policies (due_at);

-- The last preview of each repository. Results belong to a preview's id, so that those of an older one can be removed in steps.
CREATE TABLE lifecycle_previews (
    repository_id BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    status TEXT NOT NULL,
    -- In progress: until when its server may work on it. Complete: until when its results are kept.
    ends_at BIGINT NOT NULL,
    expiring BIGINT NOT NULL,
    archiving BIGINT NOT NULL
) {without_rowid};
CREATE UNIQUE INDEX lifecycle_previews_by_id ON lifecycle_previews (id);
CREATE INDEX lifecycle_previews_by_end ON lifecycle_previews (ends_at) WHERE status = 'complete';

CREATE TABLE lifecycle_preview_results (
    preview_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    tags TEXT NOT NULL,
    pushed_at BIGINT NOT NULL,
    archived BIGINT NOT NULL,
    action TEXT NOT NULL,
    priority BIGINT NOT NULL,
    PRIMARY KEY (preview_id, position)
) {without_rowid};
CREATE INDEX lifecycle_preview_results_by_digest ON lifecycle_preview_results (preview_id, digest);
