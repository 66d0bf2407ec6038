-- A lease names work that one process may do at a time. term grows with each change of hands, so a late holder is told apart.
CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    term       BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) {without_rowid};
