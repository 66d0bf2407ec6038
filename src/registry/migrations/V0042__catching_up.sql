-- Whether everything is written anew since the journal is of another index, or of a newer copy of this one. Segments say so, and do not count
-- before all are written.
ALTER TABLE journal ADD COLUMN catching_up BIGINT NOT NULL DEFAULT 0;
