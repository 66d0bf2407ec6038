-- One row: generation is another random number after each change of identities, so that servers notice that what they remember of
-- identities still stands. It is no counter: a standby that takes over may lack the last changes, and a counter would give their numbers again.
CREATE TABLE identity_generation (
    id         BIGINT NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
) {without_rowid};
