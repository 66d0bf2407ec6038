//! Refusals in the words of the services.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;

static ECR: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("../../api/ecr/limits.toml")));
static STS: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("../../api/iam/sts_limits.toml")));
static ECS: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("../../api/ecs/limits.toml")));
static IAM: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("../../api/iam/iam_limits.toml")));

fn refused(operation: &str, document: &Value) -> String {
    ECR.check(operation, document)
        .expect_err("refused")
        .to_string()
}

#[test]
fn the_built_in_limits_are_whole() {
    for limits in [&*ECR, &*ECS, &*STS, &*IAM] {
        let used = limits
            .operations
            .values()
            .chain(limits.shapes.values().map(|shape| &shape.members))
            .flat_map(BTreeMap::values);
        let items = limits.shapes.values().flat_map(|shape| {
            let parts = [&shape.item, &shape.key, &shape.value];
            parts.into_iter().flatten()
        });
        for name in used.chain(items) {
            assert!(
                limits.shapes.contains_key(name.trim_end_matches('*')),
                "no shape {name}"
            );
        }
        for pattern in limits
            .shapes
            .values()
            .filter_map(|shape| shape.pattern.as_deref())
        {
            assert!(pattern::is_known(pattern), "no matcher for {pattern}");
        }
    }
}

#[test]
fn refusals_in_ecrs_words() {
    for (operation, document, message) in [
        (
            "CreateRepository",
            json!({}),
            "'repositoryName' failed to satisfy constraint: 'must not be null'",
        ),
        (
            "CreateRepository",
            json!({"repositoryName": null}),
            "'repositoryName' failed to satisfy constraint: 'must not be null'",
        ),
        (
            "CreateRepository",
            json!({"repositoryName": "a"}),
            "'repositoryName' failed to satisfy constraint: 'must have length greater than or \
             equal to 2'",
        ),
        (
            "CreateRepository",
            json!({"repositoryName": "Web"}),
            "'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
             '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''",
        ),
        (
            "ListImages",
            json!({"repositoryName": "web", "maxResults": 1001}),
            "'maxResults' failed to satisfy constraint: 'must have value less than or equal \
             to 1000'",
        ),
        (
            "ListImages",
            json!({"repositoryName": "web", "filter": {"tagStatus": "SOME"}}),
            "'filter.tagStatus' failed to satisfy constraint: 'Member must satisfy enum value \
             set: [TAGGED, UNTAGGED, ANY]'",
        ),
        (
            "BatchGetImage",
            json!({"repositoryName": "web", "imageIds": [{}, {"imageTag": ""}]}),
            "'imageIds.2.member.imageTag' failed to satisfy constraint: 'must have length \
             greater than or equal to 1'",
        ),
        (
            "BatchGetImage",
            json!({"repositoryName": "web", "imageIds": vec![json!({}); 101]}),
            "'imageIds' failed to satisfy constraint: 'must have length less than or equal to \
             100'",
        ),
        (
            "ListImages",
            json!({"repositoryName": "web", "registryId": "１２３４５６７８９０１２"}),
            "'registryId' failed to satisfy constraint: 'must satisfy regular expression \
             '[0-9]{12}''",
        ),
    ] {
        assert_eq!(
            refused(operation, &document),
            format!("InvalidParameterException: Invalid parameter at {message}")
        );
    }
}

#[test]
fn a_wrong_type_is_named_before_any_broken_rule() {
    for (document, message) in [
        (
            json!({"repositoryName": 7}),
            "NUMBER_VALUE can not be converted to String at 'repositoryName'",
        ),
        (
            json!({"repositoryName": "A", "tags": {}}),
            "START_OBJECT can not be converted to List at 'tags'",
        ),
        (
            json!({"repositoryName": "web", "tags": ["a"]}),
            "STRING_VALUE can not be converted to Structure at 'tags.1.member'",
        ),
        (json!([]), "The body is not a JSON object"),
    ] {
        assert_eq!(
            refused("CreateRepository", &document),
            format!("SerializationException: {message}")
        );
    }
    let document = json!({"repositoryName": "web", "maxResults": 1.5});
    assert_eq!(
        refused("ListImages", &document),
        "SerializationException: NUMBER_VALUE can not be converted to Integer at 'maxResults'"
    );
}

#[test]
fn members_that_nobody_knows_are_skipped() {
    assert_eq!(
        ECR.check(
            "CreateRepository",
            &json!({"repositoryName": "web", "unheardOf": {"a": [1]}})
        ),
        Ok(())
    );
    assert_eq!(ECR.check("NoSuchOperation", &json!({})), Ok(()));
}

#[test]
fn maps_and_fractions() {
    let limits = Limits::read(
        r#"
        fault = { code = "E", message = "Value at '{member}': Member {constraint}" }
        [shapes]
        Key = { type = "string", max = 3 }
        Text = { type = "string" }
        Labels = { type = "map", max = 2, key = "Key", value = "Text" }
        Share = { type = "double", min = 0, max = 100 }
        Time = { type = "timestamp" }
        [operations.Do]
        labels = "Labels"
        share = "Share"
        since = "Time"
        "#,
    );
    let checked = |document: Value| limits.check("Do", &document).map_err(|e| e.to_string());
    assert_eq!(
        checked(json!({"labels": {"a": "b"}, "share": 0.5, "since": 1.5e9})),
        Ok(())
    );
    assert_eq!(
        checked(json!({"labels": {}, "share": 100, "since": 1})),
        Ok(())
    );
    for (document, message) in [
        (
            json!({"labels": {"long": "b"}}),
            "E: Value at 'labels': Map keys must satisfy constraint: [Member must have length less \
             than or equal to 3]",
        ),
        (
            json!({"labels": {"a": null}}),
            "E: Value at 'labels.a.member': Member must not be null",
        ),
        (
            json!({"labels": {"a": "1", "b": "2", "c": "3"}}),
            "E: Value at 'labels': Member must have length less than or equal to 2",
        ),
        (
            json!({"share": 100.5}),
            "E: Value at 'share': Member must have value less than or equal to 100",
        ),
        (
            json!({"share": -0.1}),
            "E: Value at 'share': Member must have value greater than or equal to 0",
        ),
        (
            json!({"labels": {"a": 1}}),
            "SerializationException: NUMBER_VALUE can not be converted to String at \
             'labels.a.member'",
        ),
        (
            json!({"labels": []}),
            "SerializationException: START_ARRAY can not be converted to Map at 'labels'",
        ),
        (
            json!({"share": "1"}),
            "SerializationException: STRING_VALUE can not be converted to Double at 'share'",
        ),
        (
            json!({"since": "2026-01-01"}),
            "SerializationException: STRING_VALUE can not be converted to Timestamp at 'since'",
        ),
    ] {
        assert_eq!(checked(document), Err(message.to_owned()));
    }
}

#[test]
fn a_service_may_have_its_own_words() {
    let limits = Limits::read(
        r#"
        [fault]
        code = "E"
        message = "{member} {constraint}"
        missing = "{Member} can not be blank."
        values = "{member} should be one of [{values}]"
        [shapes]
        Kind = { type = "string", values = ["a", "b"] }
        Kinds = { type = "list", item = "Kind" }
        [operations.Do]
        kinds = "Kinds*"
        "#,
    );
    for (document, message) in [
        (json!({}), "E: Kinds can not be blank."),
        (json!({"kinds": [null]}), "E: Kinds can not be blank."),
        (
            json!({"kinds": ["a", "c"]}),
            "E: kinds should be one of [a,b]",
        ),
    ] {
        let refused = limits.check("Do", &document).expect_err("refused");
        assert_eq!(refused.to_string(), message);
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let names = "repositoryName|registryId|imageIds|imageTag|tags|Key|filter|tagStatus|maxResu\
                 lts\
                 |force|layerPartBlob|x";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,5}|web|ANY".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(names, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// No document makes the check panic, and what it refuses it refuses with one of two codes.
    #[test]
    fn any_document_is_checked(document in documents()) {
        for (operation, _) in ECR.operations() {
            if let Err(fault) = ECR.check(operation, &document) {
                let codes = ["SerializationException", "InvalidParameterException"];
                prop_assert!(codes.contains(&fault.code.as_ref()), "{}", fault);
            }
        }
    }
}
