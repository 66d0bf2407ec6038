-- Log groups. group_id is internal: a group that is made again under an old name is another one. tags is a JSON object.
CREATE TABLE log_groups (
    group_id       TEXT   NOT NULL PRIMARY KEY,
    account        TEXT   NOT NULL,
    region         TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    retention_days BIGINT,
    class          TEXT   NOT NULL,
    tags           TEXT   NOT NULL
) {without_rowid};
CREATE UNIQUE INDEX log_groups_by_name ON log_groups (account, region, name);

-- Groups and streams whose segments remain to be removed.
CREATE TABLE log_removals (
    group_id  TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    PRIMARY KEY (group_id, stream_id)
) {without_rowid};

-- Streams. next_sequence numbers the next event. last_event_at is 0 before the first one.
CREATE TABLE log_streams (
    stream_id        TEXT   NOT NULL PRIMARY KEY,
    group_id         TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    first_event_at   BIGINT,
    last_event_at    BIGINT NOT NULL,
    last_ingested_at BIGINT,
    next_sequence    BIGINT NOT NULL,
    stored_bytes     BIGINT NOT NULL
) {without_rowid};
CREATE UNIQUE INDEX log_streams_by_name ON log_streams (group_id, name);
CREATE INDEX log_streams_by_event ON log_streams (group_id, last_event_at, name);

-- Events of a stream, at most 256 KiB and 24 hours together. sequence is the number of the first one; first_at and last_at are the earliest
-- and latest times of events.
CREATE TABLE log_segments (
    stream_id TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    group_id  TEXT   NOT NULL,
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    data      BYTEA  NOT NULL,
    PRIMARY KEY (stream_id, sequence)
);
CREATE INDEX log_segments_forward ON log_segments (group_id, first_at, stream_id, sequence, last_at);
CREATE INDEX log_segments_backward ON log_segments (group_id, last_at, stream_id, sequence, first_at);
CREATE INDEX log_segments_of_stream_forward ON log_segments (stream_id, first_at, sequence, last_at);
CREATE INDEX log_segments_of_stream_backward ON log_segments (stream_id, last_at, sequence, first_at);
