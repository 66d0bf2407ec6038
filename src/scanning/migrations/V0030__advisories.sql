-- Advisories, in generations: an import writes a generation that nobody reads, and then makes it the active one of its source.
-- state: 'pending', 'active', or 'old', whose rows are being removed.
CREATE TABLE advisory_generations (
    id {identity},
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    digest TEXT NOT NULL,
    advisories BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    imported_at BIGINT
);
CREATE INDEX advisory_generations_by_source ON advisory_generations (source, state);
CREATE UNIQUE INDEX advisory_generations_active ON advisory_generations (source) WHERE state = 'active';

-- What an advisory says about a package of an ecosystem (`Debian:12`), as JSON.
CREATE TABLE advisory_entries (
    generation BIGINT NOT NULL,
    ecosystem TEXT NOT NULL,
    package TEXT NOT NULL,
    advisory TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (generation, ecosystem, package, advisory)
) {without_rowid};
