//! PURE: which templates may apply to a repository.

use wharfinger_oci::RepositoryName;

use crate::creation_templates::model::ROOT;

/// The keys of the templates that match a name, the most specific first: each part of the name that
/// a slash follows, from long to short, and the root.
pub(crate) fn candidates(name: &RepositoryName) -> impl Iterator<Item = &str> {
    let name = name.as_str();
    let slashes = name.rmatch_indices('/');
    slashes.map(|(at, _)| &name[..at]).chain([ROOT])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_is_whole_parts_of_the_name() {
        let name: RepositoryName = "prod/team/web".parse().expect("a name");
        let found: Vec<_> = candidates(&name).collect();
        assert_eq!(found, ["prod/team", "prod", ROOT]);
        let name: RepositoryName = "prod".parse().expect("a name");
        assert_eq!(candidates(&name).collect::<Vec<_>>(), [ROOT]);
    }

    proptest! {
        #[test]
        fn the_first_candidate_that_exists_is_the_longest_prefix(
            name in "[ab]{2}(/[ab]{1,2}){0,3}",
            prefixes in proptest::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}", 0..12),
        ) {
            let found: RepositoryName = name.parse().expect("a name");
            let chosen = candidates(&found).find(|key| prefixes.contains(*key));
            let matching = prefixes.iter().filter(|prefix| name.starts_with(&format!("{prefix}/")));
            let longest = matching.max_by_key(|prefix| prefix.len()).map(String::as_str);
            prop_assert_eq!(chosen, longest);
        }
    }
}
