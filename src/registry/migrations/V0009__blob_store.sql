-- The store that holds this index's blobs: one row, set by the first server. `location` is where that server found it, for messages.
CREATE TABLE blob_store (
    id BIGINT NOT NULL PRIMARY KEY,
    identity TEXT NOT NULL,
    location TEXT NOT NULL
);
