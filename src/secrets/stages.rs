//! Staging labels of the versions of a secret. PURE.
//!
//! Source: Secrets Manager API reference, `PutSecretValue`.

use crate::model::SecretVersion;

/// The label of the version that is read where a request names none.
pub(crate) const CURRENT: &str = "AWSCURRENT";
/// The label of the version that was current before.
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";
/// Most versions of a secret. The oldest without a label go first. Source: Secrets Manager quotas.
pub(crate) const MAX_VERSIONS: usize = 100;

/// Moves `stages` to the version `id`, which must be among `versions`. The version that loses
/// `AWSCURRENT` gets `AWSPREVIOUS`.
pub(crate) fn attach(versions: &mut [SecretVersion], id: &str, stages: &[String]) {
    let holder = versions
        .iter()
        .find(|version| version.stages.iter().any(|one| one == CURRENT));
    let holder = holder
        .map(|version| version.id.clone())
        .filter(|holder| holder != id);
    let moves_current = stages.iter().any(|stage| stage == CURRENT);
    for version in versions.iter_mut() {
        version.stages.retain(|stage| !stages.contains(stage));
        if version.id == id {
            version.stages.extend(stages.iter().cloned());
        }
    }
    if let Some(holder) = holder.filter(|_| moves_current) {
        for version in versions {
            version.stages.retain(|stage| stage != PREVIOUS);
            if version.id == holder {
                version.stages.push(PREVIOUS.to_owned());
            }
        }
    }
}

/// The versions that must go so that there are at most [`MAX_VERSIONS`]: the oldest without labels.
pub(crate) fn surplus(versions: &[SecretVersion]) -> Vec<String> {
    let mut free: Vec<_> = versions
        .iter()
        .filter(|version| version.stages.is_empty())
        .collect();
    free.sort_by_key(|version| (version.created_at, version.id.clone()));
    let too_many = versions.len().saturating_sub(MAX_VERSIONS);
    free.into_iter()
        .take(too_many)
        .map(|version| version.id.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use wharfinger_base::Timestamp;

    use super::*;

    fn version(id: usize) -> SecretVersion {
        SecretVersion {
            id: id.to_string(),
            created_at: Timestamp::from_ms(i64::try_from(id).expect("small")),
            stages: Vec::new(),
        }
    }

    fn stages_of(versions: &[SecretVersion], id: usize) -> Vec<&str> {
        versions[id].stages.iter().map(String::as_str).collect()
    }

    #[test]
    fn the_version_that_was_current_becomes_the_previous_one() {
        let mut versions: Vec<_> = (0..3).map(version).collect();
        let current = [CURRENT.to_owned()];
        attach(&mut versions, "0", &current);
        assert_eq!(stages_of(&versions, 0), [CURRENT]);
        attach(&mut versions, "1", &current);
        assert_eq!(stages_of(&versions, 0), [PREVIOUS]);
        attach(&mut versions, "2", &current);
        assert!(stages_of(&versions, 0).is_empty());
        assert_eq!(stages_of(&versions, 1), [PREVIOUS]);
        attach(&mut versions, "2", &current);
        assert_eq!(stages_of(&versions, 2), [CURRENT]);
        assert_eq!(stages_of(&versions, 1), [PREVIOUS]);
    }

    proptest! {
        #[test]
        fn each_label_is_on_one_version(moves in vec((0usize..5, 0usize..3), 0..20)) {
            let labels = [CURRENT, "blue", "green"];
            let mut versions: Vec<_> = (0..5).map(version).collect();
            for (id, label) in moves {
                attach(&mut versions, &id.to_string(), &[labels[label].to_owned()]);
                prop_assert!(stages_of(&versions, id).contains(&labels[label]));
                for label in [CURRENT, PREVIOUS, "blue", "green"] {
                    let holders = versions.iter().flat_map(|version| &version.stages);
                    prop_assert!(holders.filter(|stage| *stage == label).count() <= 1);
                }
            }
        }

        #[test]
        fn versions_with_labels_stay(labelled in vec(any::<bool>(), 0..130)) {
            let mut versions: Vec<_> = (0..labelled.len()).map(version).collect();
            for (version, labelled) in versions.iter_mut().zip(&labelled) {
                if *labelled {
                    version.stages.push(version.id.clone());
                }
            }
            let gone = surplus(&versions);
            let kept = versions.iter().filter(|version| !gone.contains(&version.id));
            let free = labelled.iter().filter(|labelled| !**labelled).count();
            prop_assert_eq!(gone.len(), free.min(versions.len().saturating_sub(MAX_VERSIONS)));
            prop_assert_eq!(kept.filter(|version| !version.stages.is_empty()).count(),
                labelled.len() - free);
        }
    }
}
