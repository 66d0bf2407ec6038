-- A restore of this index from a backup, while it is under way: one row, with the number of the last part that is in. No server serves an index
-- that has it, and no command opens one.
CREATE TABLE restore (
    id     BIGINT NOT NULL PRIMARY KEY,
    backup TEXT   NOT NULL,
    part   BIGINT NOT NULL
);
