-- Clusters. cluster_id is internal: a cluster that is made again under an old name is another one. details is a JSON document, here and below.
CREATE TABLE clusters (
    cluster_id TEXT   NOT NULL PRIMARY KEY,
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    details    TEXT   NOT NULL
) {without_rowid};
CREATE UNIQUE INDEX clusters_by_name ON clusters (account, region, name);

-- Container instances. version grows with every change; placement compares it. reserved is a JSON document with what the instance's tasks
-- take.
CREATE TABLE container_instances (
    instance_id     TEXT   NOT NULL PRIMARY KEY,
    cluster_id      TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    registered_at   BIGINT NOT NULL,
    agent_connected BIGINT NOT NULL,
    seen_at         BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    -- A copy of what the details have, for reports about tasks.
    registered_by   TEXT   NOT NULL,
    -- Whether the agent began anew and has yet to take the tasks that ran.
    is_beginning    BIGINT NOT NULL DEFAULT 0,
    reserved        TEXT   NOT NULL,
    details         TEXT   NOT NULL
) {without_rowid};
CREATE INDEX container_instances_by_cluster ON container_instances (cluster_id, instance_id);

-- The last revision of each family, which is never given again.
CREATE TABLE task_definition_families (
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    family        TEXT   NOT NULL,
    last_revision BIGINT NOT NULL,
    PRIMARY KEY (account, region, family)
) {without_rowid};

CREATE TABLE task_definitions (
    account             TEXT   NOT NULL,
    region              TEXT   NOT NULL,
    family              TEXT   NOT NULL,
    revision            BIGINT NOT NULL,
    status              TEXT   NOT NULL,
    registered_at       BIGINT NOT NULL,
    deregistered_at     BIGINT,
    delete_requested_at BIGINT,
    registered_by       TEXT   NOT NULL,
    document            TEXT   NOT NULL,
    tags                TEXT   NOT NULL,
    PRIMARY KEY (account, region, family, revision)
) {without_rowid};
CREATE INDEX task_definitions_by_deletion ON task_definitions (delete_requested_at);
CREATE INDEX task_definitions_by_status ON task_definitions (account, region, status, family, revision);

-- Tasks. task_group and started_by are as in the API. A stopped task is kept for a while.
CREATE TABLE tasks (
    task_id         TEXT   NOT NULL PRIMARY KEY,
    cluster_id      TEXT   NOT NULL,
    instance_id     TEXT,
    service_id      TEXT,
    deployment_id   TEXT,
    family          TEXT   NOT NULL,
    revision        BIGINT NOT NULL,
    task_group      TEXT   NOT NULL,
    started_by      TEXT,
    launch_type     TEXT   NOT NULL,
    last_status     TEXT   NOT NULL,
    desired_status  TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    stopped_at      BIGINT,
    protected_until BIGINT,
    -- Copies of what the details have, for decisions about services with many tasks.
    started_at      BIGINT,
    health          TEXT,
    capacity_provider TEXT,
    -- Whether the end of the task was considered by a decision about its service.
    is_considered   BIGINT NOT NULL DEFAULT 0,
    version         BIGINT NOT NULL,
    details         TEXT   NOT NULL
) {without_rowid};
-- With the state and launch type, so that counting the tasks of a cluster reads no row.
CREATE INDEX tasks_by_cluster ON tasks (cluster_id, desired_status, task_id, last_status, launch_type);
-- With task_group, so that counting the groups of an instance reads no row.
CREATE INDEX tasks_by_instance ON tasks (instance_id, last_status, task_group, task_id);
-- With all that decisions about a service read of its tasks, so that they read no row.
CREATE INDEX tasks_by_service ON tasks (service_id, last_status, deployment_id, version, desired_status, instance_id, started_at,
    protected_until, health, capacity_provider, task_id) WHERE service_id IS NOT NULL;
CREATE INDEX tasks_to_consider ON tasks (service_id, task_id) WHERE is_considered = 0 AND last_status = 'STOPPED';
CREATE INDEX tasks_by_family ON tasks (cluster_id, family, task_id);
CREATE INDEX tasks_by_starter ON tasks (cluster_id, started_by, task_id) WHERE started_by IS NOT NULL;
CREATE INDEX tasks_by_end ON tasks (stopped_at, task_id) WHERE stopped_at IS NOT NULL;
-- Tasks that wait for their agent: few, whatever the number of tasks. Queries repeat the condition.
CREATE INDEX tasks_waiting ON tasks (instance_id, task_id)
    WHERE (last_status = 'PENDING' OR (desired_status = 'STOPPED' AND last_status <> 'STOPPED'));

-- What a client token was used for: a repeated RunTask or CreateService returns what the first one made.
CREATE TABLE client_tokens (
    cluster_id TEXT   NOT NULL,
    operation  TEXT   NOT NULL,
    token      TEXT   NOT NULL,
    request    TEXT   NOT NULL,
    result     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, operation, token)
) {without_rowid};
CREATE INDEX client_tokens_by_age ON client_tokens (created_at);

CREATE TABLE services (
    service_id    TEXT   NOT NULL PRIMARY KEY,
    cluster_id    TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    status        TEXT   NOT NULL,
    desired_count BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    details       TEXT   NOT NULL
) {without_rowid};
-- An inactive service is described for a while beside an active one of its name.
CREATE INDEX services_by_name ON services (cluster_id, name, created_at);
CREATE INDEX services_by_status ON services (status, service_id);

-- Deployments of services, which are also the service deployments and revisions of the API.
CREATE TABLE deployments (
    deployment_id         TEXT   NOT NULL PRIMARY KEY,
    service_id            TEXT   NOT NULL,
    service_deployment_id TEXT   NOT NULL,
    revision_id           TEXT   NOT NULL,
    status                TEXT   NOT NULL,
    created_at            BIGINT NOT NULL,
    version               BIGINT NOT NULL,
    details               TEXT   NOT NULL
) {without_rowid};
CREATE INDEX deployments_by_service ON deployments (service_id, status, created_at);
CREATE UNIQUE INDEX deployments_by_service_deployment ON deployments (service_deployment_id);
CREATE INDEX deployments_by_age ON deployments (status, created_at);
CREATE INDEX deployments_by_revision ON deployments (service_id, revision_id);

CREATE TABLE service_events (
    service_id TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    event_id   TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    PRIMARY KEY (service_id, created_at, event_id)
) {without_rowid};

CREATE TABLE capacity_providers (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    details    TEXT   NOT NULL,
    PRIMARY KEY (account, region, name)
) {without_rowid};

-- principal is the ARN that a setting is for; empty for the account's default.
CREATE TABLE ecs_account_settings (
    account   TEXT NOT NULL,
    region    TEXT NOT NULL,
    name      TEXT NOT NULL,
    principal TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (account, region, name, principal)
) {without_rowid};
