-- Work that one of several servers does at a time. term grows with each change of hands.
CREATE TABLE work_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    term BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {without_rowid};
