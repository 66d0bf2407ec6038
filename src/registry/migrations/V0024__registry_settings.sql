-- The policy of a registry. Every request reads which one there is, beside the repository, so that its text is kept apart; an id is never used twice, so what
-- was compiled from a text never goes stale.
CREATE TABLE registry_policies (
    id {identity},
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    text TEXT NOT NULL,
    set_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX registry_policies_by_registry ON registry_policies (account, region);

-- What else an account sets for its registry, by name: the scanning and the signing configuration as JSON, account settings as their value.
CREATE TABLE registry_settings (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
) {without_rowid};

-- Principals whose pulls are not recorded.
CREATE TABLE pull_time_exclusions (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    principal TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, principal)
) {without_rowid};

-- Templates for repositories that the registry creates itself, by prefix without a slash at its end. `settings` is JSON.
CREATE TABLE creation_templates (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    prefix TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix)
) {without_rowid};
