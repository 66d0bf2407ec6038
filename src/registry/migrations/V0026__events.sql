-- Events that wait to be delivered, a row for each sink that takes them. Where no sink is configured, nothing is written.
CREATE TABLE event_outbox (
    id {identity},
    sink TEXT NOT NULL,
    body TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX event_outbox_by_sink ON event_outbox (sink, id);
