-- The number of the segment before the next one, which names it, so that a lost segment is noticed. 0 where everything is written anew.
ALTER TABLE journal ADD COLUMN written_number BIGINT NOT NULL DEFAULT 0;
