//! Tests of conditions: each operator with its opposite, and the set forms compared with their
//! definition.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::budget::{EvaluationBudget, Meter};
use crate::pattern::Variables;

type Keys<'a> = &'a [(&'a str, &'a [&'a str])];

/// A request with these keys and nothing else.
struct Given<'a>(Keys<'a>, Meter<'a>);

impl ContextValues for Given<'_> {
    fn values(&self, key: &Key) -> Vec<Cow<'_, str>> {
        let found = self.0.iter().find(|(name, _)| Key::of(name) == *key);
        found.map_or_else(Vec::new, |(_, values)| {
            values.iter().map(|value| Cow::Borrowed(*value)).collect()
        })
    }
}

impl Variables for Given<'_> {
    fn variable(&self, key: &str) -> Option<Cow<'_, str>> {
        self.values(&Key::of(key)).pop()
    }

    fn meter(&self) -> &Meter<'_> {
        &self.1
    }
}

fn parsed(block: &str) -> Result<Vec<Condition>, PolicyError> {
    parse(&Json::parse(block).expect("JSON"), true)
}

fn condition_holds(condition: &Condition, given: Keys<'_>) -> bool {
    let budget = EvaluationBudget::default();
    condition.holds(Effect::Allow, &Given(given, Meter::new(&budget)))
}

fn holds(block: &str, given: Keys<'_>) -> bool {
    parsed(block)
        .expect("a condition")
        .iter()
        .all(|condition| condition_holds(condition, given))
}

/// One operator with one policy value against one request value.
fn check(operator: &str, policy: &str, request: &str) -> bool {
    holds(
        &serde_json::json!({operator: {"x:k": policy}}).to_string(),
        &[("x:k", &[request])],
    )
}

/// Every operator that has an opposite, with a policy value, a request value that matches and one
/// that does not.
const PAIRS: [(&str, &str, &str, &str, &str); 9] = [
    ("StringEquals", "StringNotEquals", "ab*", "ab*", "abc"),
    (
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "Straße",
        "sTRAßE",
        "x",
    ),
    ("StringLike", "StringNotLike", "a*c?", "abbcd", "abbc"),
    ("NumericEquals", "NumericNotEquals", "10", "10.0", "10.5"),
    (
        "DateEquals",
        "DateNotEquals",
        "2026-01-02T03:04:05Z",
        "1767323045",
        "2026-01-02T03:04:06Z",
    ),
    (
        "IpAddress",
        "NotIpAddress",
        "10.1.0.0/16",
        "10.1.255.3",
        "10.2.0.1",
    ),
    (
        "IpAddress",
        "NotIpAddress",
        "2001:db8::/32",
        "2001:db8:1::9",
        "2001:db9::1",
    ),
    (
        "ArnEquals",
        "ArnNotEquals",
        "arn:aws:iam::*:user/a*",
        "arn:aws:iam::123456789012:user/ann",
        "arn:aws:iam::123456789012:user/bob",
    ),
    (
        "ArnLike",
        "ArnNotLike",
        "arn:aws:iam::1234*:root",
        "arn:aws:iam::123456789012:root",
        "not an arn",
    ),
];

#[test]
fn an_operator_and_its_opposite() {
    for (operator, opposite, policy, hit, miss) in PAIRS {
        assert!(
            check(operator, policy, hit) && !check(opposite, policy, hit),
            "{operator} {hit}"
        );
        assert!(
            !check(operator, policy, miss) && check(opposite, policy, miss),
            "{operator} {miss}"
        );
    }
}

#[test]
fn a_missing_key_fails_the_positive_and_passes_the_negated() {
    for (operator, opposite, policy, ..) in PAIRS {
        let missing = |operator: &str| {
            holds(
                &serde_json::json!({operator: {"x:k": policy}}).to_string(),
                &[],
            )
        };
        assert!(!missing(operator) && missing(opposite), "{operator}");
        for operator in [operator, opposite] {
            assert!(missing(&format!("{operator}IfExists")));
            assert!(missing(&format!("ForAllValues:{operator}")));
            assert!(!missing(&format!("ForAnyValue:{operator}")));
            assert!(missing(&format!("ForAnyValue:{operator}IfExists")));
        }
    }
    for operator in ["NumericLessThan", "NumericGreaterThanEquals"] {
        assert!(!holds(&format!(r#"{{"{operator}":{{"x:k":1}}}}"#), &[]));
    }
}

#[test]
fn orders_compare_as_their_names_say() {
    for (name, below, same, above) in [
        ("LessThan", true, false, false),
        ("LessThanEquals", true, true, false),
        ("GreaterThan", false, false, true),
        ("GreaterThanEquals", false, true, true),
    ] {
        let number = |value| check(&format!("Numeric{name}"), "-1.5", value);
        assert_eq!(
            (number("-2"), number("-1.50"), number("0")),
            (below, same, above),
            "{name}"
        );
        let date = |value| check(&format!("Date{name}"), "2026-02", value);
        assert_eq!(
            (
                date("2026-01-31T23:59:59Z"),
                date("2026-02-01"),
                date("2026")
            ),
            (below, same, name.starts_with("Less")),
            "{name}"
        );
        assert_eq!(date("2026-02-01T00:00:00.001+00:00"), above, "{name}");
    }
    assert!(
        !check("NumericLessThan", "5", "four")
            && !check("NumericEquals", "5", "inf")
            && !check("DateLessThan", "2026", "soon")
    );
}

#[test]
fn truth_bytes_and_existence() {
    assert!(
        check("Bool", "true", "True")
            && !check("Bool", "true", "false")
            && !check("Bool", "false", "maybe")
    );
    assert!(holds(r#"{"Bool":{"x:k":true}}"#, &[("x:k", &["true"])]));
    assert!(
        check("BinaryEquals", "aGk=", "aGk=")
            && !check("BinaryEquals", "aGk=", "aGo=")
            && !check("BinaryEquals", "aGk=", "%")
    );
    let exists: &[(&str, &[&str])] = &[("x:k", &["v"])];
    assert!(
        holds(r#"{"Null":{"x:k":"false"}}"#, exists)
            && !holds(r#"{"Null":{"x:k":"true"}}"#, exists)
    );
    assert!(holds(r#"{"Null":{"x:k":true}}"#, &[]) && !holds(r#"{"Null":{"x:k":false}}"#, &[]));
    assert!(
        holds(r#"{"Null":{"x:k":"true"}}"#, &[("x:k", &[])]),
        "an empty set is no value"
    );
}

#[test]
fn values_of_sets_are_compared_one_by_one() {
    let any = |operator: &str, values: &[&str]| {
        holds(
            &format!(r#"{{"{operator}":{{"x:k":["a","b*"]}}}}"#),
            &[("x:k", values)],
        )
    };
    assert!(
        any("ForAllValues:StringLike", &["a", "bc"])
            && !any("ForAllValues:StringLike", &["a", "c"])
    );
    assert!(
        any("ForAnyValue:StringLike", &["c", "bc"]) && !any("ForAnyValue:StringLike", &["c", "d"])
    );
    assert!(
        any("ForAllValues:StringNotLike", &["c", "d"])
            && !any("ForAllValues:StringNotLike", &["c", "a"])
    );
    assert!(
        any("ForAnyValue:StringNotLike", &["c", "a"])
            && !any("ForAnyValue:StringNotLike", &["a", "bc"])
    );
    // Without a set operator: one that matches is enough, and the negated form is the opposite of
    // that.
    assert!(
        any("StringLike", &["c", "a"])
            && !any("StringNotLike", &["c", "a"])
            && any("StringNotLike", &["c", "d"])
    );
}

#[test]
fn all_operators_and_keys_must_hold() {
    let block = r#"{"StringEquals":{"x:a":"1","x:b":["2","3"]},"Bool":{"x:c":"true"}}"#;
    assert!(holds(
        block,
        &[("x:a", &["1"]), ("X:B", &["3"]), ("x:c", &["true"])]
    ));
    assert!(!holds(
        block,
        &[("x:a", &["1"]), ("x:b", &["4"]), ("x:c", &["true"])]
    ));
    assert!(!holds(
        block,
        &[("x:a", &["1"]), ("x:b", &["3"]), ("x:c", &["false"])]
    ));
}

#[test]
fn variables_stand_in_texts_and_arns() {
    let ann: &[(&str, &[&str])] = &[
        ("x:k", &["team-ann"]),
        ("aws:username", &["ann"]),
        ("x:arn", &["arn:aws:iam::1:user/ann"]),
    ];
    assert!(holds(
        r#"{"StringEquals":{"x:k":"team-${aws:username}"}}"#,
        ann
    ));
    assert!(holds(
        r#"{"StringEqualsIgnoreCase":{"x:k":"TEAM-${AWS:USERNAME}"}}"#,
        ann
    ));
    assert!(holds(
        r#"{"ArnEquals":{"x:arn":"arn:aws:iam::*:user/${aws:username}"}}"#,
        ann
    ));
    assert!(!holds(
        r#"{"StringEquals":{"x:k":"team-${aws:userid}"}}"#,
        ann
    ));
    assert!(
        holds(r#"{"StringNotEquals":{"x:k":"team-${aws:userid}"}}"#, ann),
        "no value, so not equal"
    );
    assert!(holds(
        r#"{"StringEquals":{"x:k":"team-${aws:userid, 'ann'}"}}"#,
        ann
    ));
    let literal = parse(
        &Json::parse(r#"{"StringEquals":{"x:k":"${aws:username}"}}"#).expect("JSON"),
        false,
    )
    .expect("a condition");
    assert!(
        condition_holds(&literal[0], &[("x:k", &["${aws:username}"])]),
        "the old version has no variables"
    );
}

#[test]
fn addresses_meet_their_family_only() {
    assert!(
        check("IpAddress", "10.0.0.1", "10.0.0.1") && check("IpAddress", "0.0.0.0/0", "1.2.3.4")
    );
    assert!(check("IpAddress", "10.0.0.0/8", "::ffff:10.1.1.1"));
    assert!(
        !check("IpAddress", "0.0.0.0/0", "::1")
            && !check("IpAddress", "::/0", "1.2.3.4")
            && check("IpAddress", "::/0", "fe80::1")
    );
    assert!(!check("IpAddress", "10.0.0.0/8", "ten"));
}

#[test]
fn what_no_operator_takes_is_refused() {
    for bad in [
        "[]",
        r#"{"StringEqual":{"x:k":"a"}}"#,
        r#"{"stringequals":{"x:k":"a"}}"#,
        r#"{"ForSomeValues:StringEquals":{"x:k":"a"}}"#,
        r#"{"NullIfExists":{"x:k":"true"}}"#,
        r#"{"StringEquals":"a"}"#,
        r#"{"StringEquals":{"":"a"}}"#,
        r#"{"StringEquals":{"x:k":[]}}"#,
        r#"{"StringEquals":{"x:k":null}}"#,
        r#"{"StringEquals":{"x:k":{"a":"b"}}}"#,
        r#"{"StringEquals":{"x:k":[["a"]]}}"#,
        r#"{"StringEquals":{"x:k":"${aws:username"}}"#,
        r#"{"NumericEquals":{"x:k":"ten"}}"#,
        r#"{"NumericEquals":{"x:k":"NaN"}}"#,
        r#"{"DateEquals":{"x:k":"yesterday"}}"#,
        r#"{"DateEquals":{"x:k":"2026-13"}}"#,
        r#"{"DateEquals":{"x:k":""}}"#,
        r#"{"Bool":{"x:k":"yes"}}"#,
        r#"{"Null":{"x:k":"1"}}"#,
        r#"{"BinaryEquals":{"x:k":"%"}}"#,
        r#"{"IpAddress":{"x:k":"10.0.0.0/33"}}"#,
        r#"{"IpAddress":{"x:k":"10.0.0.0/+8"}}"#,
        r#"{"IpAddress":{"x:k":"10.0.0/8"}}"#,
    ] {
        assert!(parsed(bad).is_err(), "{bad}");
    }
}

proptest! {
    /// The rule in the file's opening, over every operator, quantifier and number of values.
    #[test]
    fn set_forms_agree_with_their_definition(
        pair in prop::sample::select(PAIRS.to_vec()),
        negated in any::<bool>(),
        quantifier in prop::sample::select(vec!["", "ForAllValues:", "ForAnyValue:"]),
        hits in prop::collection::vec(any::<bool>(), 0..4),
        if_exists in any::<bool>(),
    ) {
        let (operator, opposite, policy, hit, miss) = pair;
        let form = if negated { opposite } else { operator };
        let suffix = if if_exists { "IfExists" } else { "" };
        let name = format!("{quantifier}{form}{suffix}");
        let values = hits.iter().map(|matches| if *matches { hit } else { miss });
        let values: Vec<&str> = values.collect();
        let conditions = serde_json::json!({name: {"x:k": policy}}).to_string();
        let found = holds(&conditions, &[("x:k", &values)]);
        let each = || hits.iter().map(|matches| *matches != negated);
        let expected = match quantifier {
            _ if hits.is_empty() && if_exists => true,
            "ForAllValues:" => each().all(|one| one),
            "ForAnyValue:" => each().any(|one| one),
            // Without a set operator the positive form requires a match, and the negated form is
            // its exact opposite.
            _ => hits.iter().any(|matches| *matches) != negated,
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_block_is_read_or_refused(
        operator in "(ForAnyValue:)?(String|Numeric|Date|Arn|Ip|Null|Bool)\\PC{0,12}",
        key in "\\PC{0,8}",
        value in "\\PC{0,20}",
        sent in "\\PC{0,20}",
    ) {
        if let Ok(conditions) = parsed(&serde_json::json!({operator: {&key: value}}).to_string()) {
            condition_holds(&conditions[0], &[(&key, &[&sent])]);
        }
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix(network: u32, address: u32, bits in 0..=32_u32) {
        let block = Network {
            address: std::net::Ipv4Addr::from(network).into(),
            prefix_bits: bits,
        };
        let same = (0..bits).all(|bit| (network ^ address) & (1 << (31 - bit)) == 0);
        prop_assert_eq!(block.contains(std::net::Ipv4Addr::from(address).into()), same);
    }
}

#[test]
fn of_tags_that_differ_in_case_one_denies_and_all_allow() {
    for (operator, values, allows, denies) in [
        ("StringEquals", &["red", "red"][..], true, true),
        ("StringEquals", &["red", "blue"][..], false, true),
        ("StringEquals", &["blue", "green"][..], false, false),
        ("StringNotEquals", &["red", "blue"][..], false, true),
        ("StringNotEquals", &["red", "red"][..], false, false),
        ("StringNotEquals", &["blue", "green"][..], true, true),
    ] {
        for key in ["aws:ResourceTag/Team", "aws:RequestTag/Team"] {
            let block = serde_json::json!({operator: {key: "red"}}).to_string();
            let condition = &parsed(&block).expect("a condition")[0];
            let budget = EvaluationBudget::default();
            let given = [(key, values)];
            let given = Given(&given, Meter::new(&budget));
            let found = (
                condition.holds(Effect::Allow, &given),
                condition.holds(Effect::Deny, &given),
            );
            assert_eq!(found, (allows, denies), "{operator} {key} {values:?}");
        }
    }
}
