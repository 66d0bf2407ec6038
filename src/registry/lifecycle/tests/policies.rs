//! Lifecycle policies for tests.

use proptest::prelude::*;

use crate::lifecycle::policy::LifecyclePolicy;

/// A policy with these rules.
pub(crate) fn policy_text(rules: &[String]) -> String {
    format!(r#"{{"rules":[{}]}}"#, rules.join(","))
}

/// Texts of valid policies over tags of the letters `a` and `b`.
pub(crate) fn any_policy() -> impl Strategy<Value = String> {
    any_rules().prop_map(|rules| policy_text(&rules))
}

/// Rules of a valid policy.
pub(crate) fn any_rules() -> impl Strategy<Value = Vec<String>> {
    let rules = prop::collection::btree_map(1..1_000_u32, any_rule(), 1..6);
    rules.prop_map(|rules| {
        // What the rules may not have together is left out.
        let mut kept: Vec<String> = Vec::new();
        for (priority, rule) in rules.into_iter().rev() {
            kept.insert(0, format!(r#"{{"rulePriority":{priority},{rule}}}"#));
            if LifecyclePolicy::parse(&policy_text(&kept)).is_err() {
                kept.remove(0);
            }
        }
        kept
    })
}

fn any_rule() -> impl Strategy<Value = String> {
    let list = |entry: &'static str| {
        prop::collection::vec(entry, 1..3).prop_map(|list| serde_json::json!(list).to_string())
    };
    let tags = prop_oneof![
        Just(r#""tagStatus":"any""#.to_owned()),
        Just(r#""tagStatus":"untagged""#.to_owned()),
        list("[ab]{1,2}")
            .prop_map(|list| format!(r#""tagStatus":"tagged","tagPrefixList":{list}"#)),
        list("[ab*]{1,3}")
            .prop_map(|list| format!(r#""tagStatus":"tagged","tagPatternList":{list}"#)),
    ];
    let action = prop_oneof![
        Just(r#""type":"expire""#),
        Just(r#""type":"transition","targetStorageClass":"archive""#),
    ];
    let criterion = (0..4, 1..150_u32, action).prop_map(|(kind, number, action)| match kind {
        0 => (
            format!(
                r#""countType":"imageCountMoreThan","countNumber":{}"#,
                number % 10 + 1
            ),
            action,
        ),
        1 => (
            format!(r#""countType":"sinceImagePushed","countUnit":"days","countNumber":{number}"#),
            action,
        ),
        2 => (
            format!(r#""countType":"sinceImagePulled","countUnit":"days","countNumber":{number}"#),
            r#""type":"transition","targetStorageClass":"archive""#,
        ),
        _ => (
            format!(
                r#""storageClass":"archive","countType":"sinceImageTransitioned",
                    "countUnit":"days","countNumber":{}"#,
                number + 90
            ),
            r#""type":"expire""#,
        ),
    });
    (tags, criterion).prop_map(|(tags, (criterion, action))| {
        format!(r#""selection":{{{tags},{criterion}}},"action":{{{action}}}"#)
    })
}
