-- One row that the readiness check writes, so that a database which takes no writes is not called ready. Leases were never used.
DROP TABLE leases;

CREATE TABLE readiness (
    id BIGINT NOT NULL PRIMARY KEY,
    checked_at BIGINT NOT NULL
);
INSERT INTO readiness (id, checked_at) VALUES (1, 0);
