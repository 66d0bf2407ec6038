-- Tags that came from an upstream registry: the image that each named there, and when that was looked at last. A tag that somebody pushed
-- since names another image, and is left alone.
CREATE TABLE pull_through_tags (
    repository_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    digest BYTEA NOT NULL,
    checked_at BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
) {without_rowid};
