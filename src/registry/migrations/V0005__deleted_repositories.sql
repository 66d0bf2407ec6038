-- Repositories that were deleted and whose rows in other tables are still being removed. The row in repositories is gone already, so
-- the name is free; ids are not used again.
CREATE TABLE deleted_repositories (
    repository_id BIGINT NOT NULL PRIMARY KEY,
    deleted_at BIGINT NOT NULL
) {without_rowid};
