//! Policies are read, and what is no policy is refused in the words of ECR.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::lifecycle::policy::{Action, Criterion};
use crate::lifecycle::tests::policies::{any_rules, policy_text};

fn error(policy: &Value) -> String {
    let parsed = LifecyclePolicy::parse(&policy.to_string());
    parsed.expect_err("not a policy").to_string()
}

fn with(selection: &Value, action: &Value) -> Value {
    json!({"rules": [{"rulePriority": 1, "selection": selection, "action": action}]})
}

/// The error of a policy whose one rule expires by this selection.
fn selection_error(selection: &Value) -> String {
    error(&with(selection, &json!({"type": "expire"})))
}

fn counting() -> Value {
    json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3})
}

fn changed(mut value: Value, member: &str, to: Value) -> Value {
    value[member] = to;
    value
}

#[test]
fn reads_every_kind_of_rule() {
    let archive = json!({"type": "transition", "targetStorageClass": "archive"});
    let text = json!({"rules": [
        {"rulePriority": 9, "description": "last", "action": {"type": "expire"}, "selection":
            {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100,
                "storageClass": "standard"}},
        {"rulePriority": 1, "action": archive, "selection":
            {"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "sinceImagePushed",
                "countUnit": "days", "countNumber": 14}},
        {"rulePriority": 3, "action": archive, "selection":
            {"tagStatus": "untagged", "countType": "sinceImagePulled", "countUnit": "days",
                "countNumber": 1}},
        {"rulePriority": 10, "action": {"type": "expire"}, "selection":
            {"tagStatus": "any", "countType": "sinceImageTransitioned", "countUnit": "days",
                "storageClass": "archive", "countNumber": 90}},
    ]});
    let policy = LifecyclePolicy::parse(&text.to_string()).expect("a policy");
    let read: Vec<_> = policy
        .rules()
        .iter()
        .map(|rule| (rule.priority, rule.tags.clone(), rule.criterion))
        .collect();
    let (expire, archive) = (Action::Expire, Action::Archive);
    assert_eq!(
        read,
        [
            (
                1,
                TagSelection::Prefixes(vec!["v".to_owned()]),
                Criterion::SincePushed {
                    days: 14,
                    action: archive
                }
            ),
            (
                3,
                TagSelection::Untagged,
                Criterion::SincePulled { days: 1 }
            ),
            (
                9,
                TagSelection::Any,
                Criterion::CountMoreThan {
                    images: 100,
                    action: expire
                }
            ),
            (10, TagSelection::Any, Criterion::SinceArchived { days: 90 }),
        ]
    );
}

#[test]
fn what_is_no_policy_is_said_not_to_map_to_one() {
    for text in ["", "{", "[]", "\"rules\"", "null"] {
        let error = LifecyclePolicy::parse(text).expect_err("not a policy");
        assert_eq!(
            error.to_string(),
            "Could not map policyString into LifecyclePolicy."
        );
    }
}

#[test]
fn missing_unknown_and_mistyped_members_are_named() {
    let cases = [
        (
            json!({}),
            r#"object has missing required properties (["rules"])"#,
        ),
        (
            json!({"rules": [], "x": 1}),
            r#"object instance has properties which are not allowed by the schema: (["x"])"#,
        ),
        (
            json!({"rules": []}),
            "array is too short: must have at least 1 elements but instance has 0 elements",
        ),
        (
            json!({"rules": [1]}),
            "instance type (integer) does not match any allowed primitive type (allowed: \
             [\"object\"])",
        ),
        (
            json!({"rules": null}),
            "instance type (null) does not match any allowed primitive type (allowed: \
             [\"array\"])",
        ),
        (
            json!({"rules": [{"rulePriority": 1}]}),
            r#"object has missing required properties (["action","selection"])"#,
        ),
    ];
    for (policy, expected) in cases {
        assert_eq!(error(&policy), expected);
    }
    let mut rule = with(&counting(), &json!({"type": "expire"}));
    rule["rules"][0]["description"] = Value::Null;
    assert_eq!(
        error(&rule),
        "instance type (null) does not match any allowed primitive type (allowed: \
             [\"string\"])"
    );
    for (priority, expected) in [
        (
            json!(0),
            "numeric instance is lower than the required minimum (minimum: 1, found: 0)",
        ),
        (
            json!(-5),
            "numeric instance is lower than the required minimum (minimum: 1, found: -5)",
        ),
        (
            json!(3_000_000_000_u64),
            "numeric instance is greater than the required maximum (maximum: 2147483647, found: \
             3000000000)",
        ),
        (
            json!(1.5),
            "instance type (number) does not match any allowed primitive type (allowed: \
             [\"integer\"])",
        ),
        (
            json!("1"),
            "instance type (string) does not match any allowed primitive type (allowed: \
             [\"integer\"])",
        ),
    ] {
        let mut rule = with(&counting(), &json!({"type": "expire"}));
        rule["rules"][0]["rulePriority"] = priority;
        assert_eq!(error(&rule), expected);
    }
}

#[test]
fn selections_match_one_of_four_alternatives() {
    let none = "instance failed to match exactly one schema (matched 0 out of 4)";
    let pushed = json!({"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days",
        "countNumber": 3});
    let mut without_unit = pushed.clone();
    without_unit
        .as_object_mut()
        .expect("an object")
        .remove("countUnit");
    let archived = json!({"tagStatus": "any", "countType": "sinceImageTransitioned",
        "countUnit": "days", "storageClass": "archive", "countNumber": 90});
    let mut unnamed_class = archived.clone();
    unnamed_class
        .as_object_mut()
        .expect("an object")
        .remove("storageClass");
    for selection in [
        changed(counting(), "countType", json!("imageCount")),
        changed(counting(), "countUnit", json!("days")),
        changed(counting(), "countUnit", Value::Null),
        changed(counting(), "storageClass", json!("archive")),
        changed(counting(), "storageClass", Value::Null),
        without_unit,
        changed(pushed.clone(), "storageClass", json!("archive")),
        unnamed_class,
        changed(archived.clone(), "storageClass", json!("standard")),
    ] {
        assert_eq!(selection_error(&selection), none, "{selection}");
    }
    assert_eq!(
        selection_error(&changed(pushed, "countUnit", json!("hours"))),
        r#"instance value (hours) not found in enum :(possible values: ["days"])"#
    );
    assert_eq!(
        selection_error(&changed(archived, "countNumber", json!(89))),
        "numeric instance is lower than the required minimum (minimum: 90, found: 89)"
    );
    assert_eq!(
        selection_error(&changed(counting(), "tagStatus", json!("x"))),
        r#"instance value (x) not found in enum :(possible values: ["any","tagged","untagged"])"#
    );
    assert_eq!(
        selection_error(&changed(counting(), "countNumber", json!(0))),
        "numeric instance is lower than the required minimum (minimum: 1, found: 0)"
    );
    assert_eq!(
        selection_error(&changed(counting(), "imageAge", json!(0))),
        r#"object instance has properties which are not allowed by the schema: (["imageAge"])"#
    );
}

#[test]
fn actions_match_one_of_two_alternatives_and_fit_the_count_type() {
    let none = "instance failed to match exactly one schema (matched 0 out of 2)";
    for action in [
        json!({"type": "expire", "targetStorageClass": "archive"}),
        json!({"type": "expire", "targetStorageClass": null}),
        json!({"type": "transition"}),
        json!({"type": "transition", "targetStorageClass": "standard"}),
    ] {
        assert_eq!(error(&with(&counting(), &action)), none, "{action}");
    }
    assert_eq!(
        error(&with(&counting(), &json!({"type": "delete"}))),
        r#"instance value (delete) not found in enum :(possible values: ["expire","transition"])"#
    );
    let pulled = json!({"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days",
        "countNumber": 3});
    assert_eq!(
        selection_error(&pulled),
        "Rules with countType=sinceImagePulled must have the action transition."
    );
    let archived = json!({"tagStatus": "any", "countType": "sinceImageTransitioned",
        "countUnit": "days", "storageClass": "archive", "countNumber": 90});
    let transition = json!({"type": "transition", "targetStorageClass": "archive"});
    assert_eq!(
        error(&with(&archived, &transition)),
        "Rules with countType=sinceImageTransitioned must have the action expire."
    );
}

#[test]
fn tag_lists_go_with_tagged_and_have_few_wildcards() {
    let tagged = changed(counting(), "tagStatus", json!("tagged"));
    let must = "Must specify tagPrefixList or tagPatternList";
    assert_eq!(
        selection_error(&tagged),
        format!("{must} when tagStatus=TAGGED.")
    );
    let prefixed = changed(counting(), "tagPrefixList", json!(["v"]));
    assert_eq!(
        selection_error(&prefixed),
        format!("{must} only when tagStatus=TAGGED.")
    );
    let both = changed(
        changed(tagged.clone(), "tagPrefixList", json!(["v"])),
        "tagPatternList",
        json!(["v*"]),
    );
    assert_eq!(
        selection_error(&both),
        "Must specify only one of tagPrefixList and tagPatternList."
    );
    let patterns = |list| changed(tagged.clone(), "tagPatternList", list);
    let five = patterns(json!(["*1*2*3*4", "*a*b*c*d*e"]));
    assert_eq!(
        selection_error(&five),
        "A tag pattern can have at most 4 wildcards: *a*b*c*d*e"
    );
    assert_eq!(
        selection_error(&patterns(Value::Null)),
        "instance type (null) does not match any allowed primitive type (allowed: \
             [\"array\"])"
    );
    assert_eq!(
        selection_error(&patterns(json!([""]))),
        r#"string "" is too short (length: 0, required minimum: 1)"#
    );
}

#[test]
fn rules_go_together() {
    let rule = |priority: u32, selection: &Value| {
        let action = json!({"type": "expire"});
        json!({"rulePriority": priority, "selection": selection, "action": action})
    };
    let together = |rules: &[Value]| error(&json!({"rules": rules}));
    let untagged = changed(counting(), "tagStatus", json!("untagged"));
    let tagged = |list: Value| {
        let tagged = changed(counting(), "tagStatus", json!("tagged"));
        changed(tagged, "tagPrefixList", list)
    };
    assert_eq!(
        together(&[rule(2, &untagged), rule(2, &counting())]),
        "Rule priorities must be unique: 2 is used by more than one rule."
    );
    assert_eq!(
        together(&[rule(1, &untagged), rule(2, &untagged)]),
        "Only one rule can select Untagged images per storage class."
    );
    assert_eq!(
        together(&[rule(1, &counting()), rule(2, &untagged)]),
        "Rule for tagStatus=ANY must have the lowest priority per storage class"
    );
    assert_eq!(
        together(&[
            rule(1, &tagged(json!(["a", "b"]))),
            rule(2, &tagged(json!(["b", "a"])))
        ]),
        "Rules must select unique sets of tag prefixes or tag patterns per storage class."
    );
    let many: Vec<Value> = (1..=51).map(|priority| rule(priority, &untagged)).collect();
    assert_eq!(
        together(&many),
        "array is too long: must have at most 50 elements but instance has 51 elements"
    );
}

proptest! {
    #[test]
    fn the_order_of_the_text_does_not_matter(
        (rules, shuffled) in any_rules()
            .prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
    ) {
        let one = LifecyclePolicy::parse(&policy_text(&rules)).expect("a policy");
        let other = LifecyclePolicy::parse(&policy_text(&shuffled)).expect("a policy");
        prop_assert_eq!(one, other);
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        text in ".{0,200}",
        rules in any_rules(),
        cut in 0..400_usize,
    ) {
        let _ = LifecyclePolicy::parse(&text);
        let whole = policy_text(&rules);
        let _ = LifecyclePolicy::parse(whole.get(..cut).unwrap_or(&whole));
    }
}
