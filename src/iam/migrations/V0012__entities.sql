-- Users, groups, roles and instance profiles. kind is `user`, `group`, `role` or `instance-profile`, as in ARNs. folded_name is the name in
-- lower case: IAM takes no two names of a kind that differ by case alone. boundary is the ARN of the permissions boundary of a user or role.
-- disabled_at is for users: their credentials are refused.
CREATE TABLE entities (
    account     TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    folded_name TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    entity_id   TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    boundary    TEXT,
    disabled_at BIGINT,
    PRIMARY KEY (account, kind, folded_name)
) {without_rowid};
-- Policies name entities by their unique ids, whatever the account.
CREATE UNIQUE INDEX entities_by_id ON entities (entity_id);
CREATE INDEX entities_by_boundary ON entities (account, boundary, entity_id);

INSERT INTO entities
        (account, kind, folded_name, name, path, entity_id, created_at, boundary, disabled_at)
    SELECT account, 'user', folded_name, name, path, user_id, created_at, boundary, disabled_at
    FROM users;
INSERT INTO entities (account, kind, folded_name, name, path, entity_id, created_at)
    SELECT account, 'group', folded_name, name, path, group_id, created_at FROM groups;
DROP TABLE users;
DROP TABLE groups;

-- What roles have besides. trust_policy names principals by their unique ids. last_used_at is written at most once an hour.
CREATE TABLE roles (
    role_id             TEXT   NOT NULL PRIMARY KEY,
    account             TEXT   NOT NULL,
    trust_policy        TEXT   NOT NULL,
    description         TEXT,
    max_session_seconds BIGINT NOT NULL,
    last_used_at        BIGINT,
    last_used_region    TEXT
) {without_rowid};
CREATE INDEX roles_by_account ON roles (account);

-- The role of an instance profile, which has one at most.
CREATE TABLE instance_profile_roles (
    account    TEXT   NOT NULL,
    profile_id TEXT   NOT NULL,
    role_id    TEXT   NOT NULL,
    added_at   BIGINT NOT NULL,
    PRIMARY KEY (account, profile_id)
) {without_rowid};
CREATE INDEX instance_profile_roles_by_role ON instance_profile_roles (account, role_id);

-- Finished deletions of service-linked roles, whose status can be requested.
CREATE TABLE role_deletions (
    account    TEXT   NOT NULL,
    task_id    TEXT   NOT NULL,
    deleted_at BIGINT NOT NULL,
    PRIMARY KEY (account, task_id)
) {without_rowid};
