-- The role that the pull-through cache assumes where the upstream is a registry of this server. An absent one is an empty text.
ALTER TABLE pull_through_rules ADD COLUMN custom_role_arn TEXT NOT NULL DEFAULT '';
