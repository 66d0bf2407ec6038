-- Whether a write to the archive has ended: its object is removed, and must not be named any more.
ALTER TABLE archive_writes ADD COLUMN ended BIGINT NOT NULL DEFAULT 0;
