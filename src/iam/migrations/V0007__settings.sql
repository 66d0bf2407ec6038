-- Facts about the index itself. `mode`: `development` while only servers under --dev have served it, else `production`.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) {without_rowid};
