//! The tables that hold what is set for registries, and the statements about all of them.

/// Makes the statements about these tables, which have an account and a region.
macro_rules! for_tables_of_registries {
    ($first:literal $(, $other:literal)*) => {
        /// Remove what is set for a registry.
        pub(super) const DELETIONS: &[&str] = &[
            concat!("DELETE FROM ", $first, " WHERE account = ?1 AND region = ?2"),
            $(concat!("DELETE FROM ", $other, " WHERE account = ?1 AND region = ?2"),)*
        ];
        /// Remove what is set for all registries.
        pub(super) const DELETIONS_OF_ALL: &[&str] = &[
            concat!("DELETE FROM ", $first),
            $(concat!("DELETE FROM ", $other),)*
        ];
        /// Selects names of registries for which anything is set.
        pub(super) const NAMES_AFTER: &str = concat!(
            "SELECT name FROM (SELECT account || '/' || region AS name FROM ", $first,
            $(" UNION SELECT account || '/' || region FROM ", $other,)*
            ") registries WHERE name > ?1 ORDER BY name LIMIT ?2"
        );
        /// Makes an entry of the journal for each registry for which anything is set.
        pub(super) const NOTES: &str = concat!(
            "INSERT INTO journal_entries (kind, repository_id, name) SELECT 'registry', 0, name ",
            "FROM (SELECT account || '/' || region AS name FROM ", $first,
            $(" UNION SELECT account || '/' || region FROM ", $other,)*
            ") registries"
        );
    };
}

for_tables_of_registries!(
    "registry_policies",
    "registry_settings",
    "pull_time_exclusions",
    "creation_templates",
    "pull_through_rules"
);
