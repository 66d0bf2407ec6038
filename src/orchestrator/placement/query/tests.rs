//! Expressions and what they are true of.

use proptest::prelude::*;

use super::*;
use crate::model::Reservation;
use crate::placement::tests::node_with;

fn instance() -> Node {
    let attributes = [
        ("ecs.instance-type", "t2.small"),
        ("ecs.availability-zone", "us-east-1a"),
        ("slots", "9"),
    ];
    let mut node = node_with("one", &attributes);
    for group in ["service:web", "family:batch", "service:web"] {
        node.take(&Reservation::default(), group);
    }
    node.pending_tasks = 1;
    node
}

fn holds(text: &str) -> bool {
    let expression = Expression::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    expression.matches(&instance())
}

#[test]
fn examples_of_the_guide_are_understood() {
    for text in [
        "attribute:ecs.instance-type == t2.small",
        "attribute:ecs.availability-zone in [us-east-1a, us-east-1b]",
        "task:group == service:web",
        "not(task:group == service:production)",
        "runningTasksCount == 2",
        "attribute:ecs.instance-type =~ t2.* and attribute:ecs.availability-zone != us-east-1d",
        "(runningTasksCount > 1) or (attribute:ecs.instance-type == 'x.y')",
        "ec2InstanceId in ['i-one', 'i-two']",
        "agentConnected == true",
        "agentVersion >= 1.9",
        "registeredAt > 2019-01-01",
        "attribute:slots exists && !(attribute:color exists)",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn each_operator_has_a_word_and_a_negation() {
    for (text, expected) in [
        ("attribute:ecs.instance-type equals t2.small", true),
        ("attribute:ecs.instance-type not_equals t2.small", false),
        ("attribute:slots > 10", false),
        ("attribute:slots greater_than 8.5", true),
        ("attribute:slots greater_than_equal 9", true),
        ("attribute:slots less_than 10", true),
        ("attribute:slots <= 8", false),
        ("attribute:slots not_in [7, 8]", true),
        ("attribute:slots !in [9]", false),
        ("attribute:slots !~ '[0-9]'", false),
        ("attribute:slots not_matches '[0-8]'", true),
        ("attribute:slots matches '.'", true),
        ("attribute:color !exists", true),
        ("attribute:color not_exists", true),
        ("attribute:color == red", false),
        ("attribute:color != red", true),
        ("attribute:color < red", false),
        ("agentVersion == v1.105.1.0", true),
        ("agentVersion < 1.20.0", false),
        ("agentVersion =~ '1\\..*'", true),
        ("registeredAt <= 2020-09-13T12:26:40Z", true),
        ("registeredAt < 2020-09-13T12:26:40", false),
        ("task:group in [family:batch]", true),
        ("task:group =~ 'family:.*'", true),
        ("task:group !exists", false),
        ("agentConnected == false", false),
        ("ec2InstanceId exists", true),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn and_binds_before_or_and_not_before_both() {
    let (yes, no) = ("runningTasksCount == 2", "runningTasksCount == 3");
    assert!(holds(&format!("{yes} or {no} and {no}")));
    assert!(!holds(&format!("({yes} or {no}) and {no}")));
    assert!(holds(&format!("not {no} and {yes}")));
    assert!(holds(&format!("! ! {yes} && not(not({yes}))")));
    assert!(holds(&format!("{no} || NOT {no} AND {yes}")));
}

#[test]
fn regular_expressions_match_whole_values() {
    assert!(!holds("attribute:ecs.instance-type =~ t2"));
    assert!(!holds("attribute:ecs.instance-type =~ small"));
    assert!(holds("attribute:ecs.instance-type =~ 't2|t2.small'"));
    assert!(!holds("attribute:ecs.instance-type =~ 't2|small'"));
}

#[test]
fn what_is_no_expression_is_refused_with_the_reason() {
    use QueryError::{End, Operator, Regex, Subject, TooDeep, TooLong, Unexpected, Value};
    let text = |text: &str| text.to_owned();
    for (expression, expected) in [
        ("", End),
        ("attribute:a", End),
        ("attribute:a ==", End),
        ("attribute: == b", Subject(text("attribute:"))),
        ("color == red", Subject(text("color"))),
        ("attribute:a is b", Unexpected(text("is"))),
        ("attribute:a == b c", Unexpected(text("c"))),
        ("attribute:a in b", Unexpected(text("b"))),
        ("attribute:a in []", Unexpected(text("]"))),
        ("attribute:a in [b c]", Unexpected(text("c"))),
        ("(attribute:a == b", End),
        ("attribute:a == b)", Unexpected(text(")"))),
        (
            "runningTasksCount =~ 1",
            Operator(text("runningTasksCount")),
        ),
        ("task:group > a", Operator(text("task:group"))),
        ("attribute:a =~ '('", Regex(text("("))),
        ("attribute:a =~ 'a)|(b'", Regex(text("a)|(b"))),
        (
            "attribute:a =~ '(a{99}){99}{99}'",
            Regex(text("(a{99}){99}{99}")),
        ),
        (
            "runningTasksCount > many",
            Value {
                subject: text("runningTasksCount"),
                value: text("many"),
            },
        ),
        (
            "registeredAt > yesterday",
            Value {
                subject: text("registeredAt"),
                value: text("yesterday"),
            },
        ),
    ] {
        assert_eq!(Expression::parse(expression), Err(expected), "{expression}");
    }
    let long = format!("attribute:a == '{}'", "b".repeat(MAX_CHARACTERS));
    assert_eq!(Expression::parse(&long), Err(TooLong));
    let deep = format!("{}attribute:a exists{}", "(".repeat(900), ")".repeat(900));
    assert_eq!(Expression::parse(&deep), Err(TooDeep));
}

#[test]
fn regular_expressions_of_one_expression_share_a_bound() {
    let pattern = |groups: usize| format!("'{}[a-z]{{99}}'", "()".repeat(groups));
    let test = |pattern: String| format!("attribute:a =~ {pattern}");
    let one = Expression::parse(&test(pattern(0))).expect("small enough");
    let grouped = Expression::parse(&test(pattern(300))).expect("small enough");
    assert!(
        grouped.bytes() < 10 * one.bytes(),
        "groups must not multiply what a search takes: {} and {}",
        one.bytes(),
        grouped.bytes()
    );
    let several = |count: usize| vec![test(pattern(0)); count].join(" or ");
    let all = Expression::parse(&several(4)).expect("small enough");
    assert!(all.bytes() > 3 * one.bytes());
    let refused = Expression::parse(&several(60));
    assert!(matches!(refused, Err(QueryError::Regex(_))));
    for usual in [
        "[a-z0-9.-]+",
        "(m5|c5|r5)\\..*",
        "\\w+",
        "\\d{3}-\\w*",
        "(?i)t3.*",
    ] {
        let parsed = Expression::parse(&format!("attribute:a =~ '{usual}'"));
        let bytes = parsed.map(|parsed| parsed.bytes());
        assert!(
            bytes.as_ref().is_ok_and(|bytes| *bytes < 4 * 1024),
            "{usual}: {bytes:?}"
        );
    }
}

/// What a match costs is bounded by the states of the pattern and the bytes of the value.
#[test]
fn regular_expressions_have_no_more_states_than_a_match_may_take_time_for() {
    let costly = |times: usize| format!("'((a?){{{times}}})*b'");
    let accepts = |subject: &str, pattern: &str| {
        Expression::parse(&format!("{subject} =~ {pattern}")).map(|parsed| parsed.regex_bytes)
    };
    let largest = |subject: &str| {
        let sizes = (1..1_000)
            .step_by(20)
            .map_while(|times| accepts(subject, &costly(times)).ok());
        sizes.last().expect("the smallest is accepted")
    };
    let of_attributes = largest("attribute:a");
    let bound = parse::MAX_REGEX_BYTES;
    assert!(
        (bound / 4..=bound * 3 / 4).contains(&of_attributes),
        "{of_attributes}"
    );
    let of_groups = largest("task:group");
    let bound = parse::MAX_GROUP_REGEX_BYTES;
    assert!(
        (bound / 4..=bound * 3 / 4).contains(&of_groups),
        "{of_groups}"
    );
    // As many names as one looks for in practice.
    let ids = |count: usize| {
        let ids: Vec<_> = (0..count).map(|id| format!("i-{id:017x}")).collect();
        format!("'{}'", ids.join("|"))
    };
    assert!(accepts("ec2InstanceId", &ids(50)).is_ok());
    assert!(accepts("task:group", "'service:(web|api|worker)-[a-z0-9]+'").is_ok());
}

#[test]
fn classes_of_characters_are_those_of_java() {
    let matches = |pattern: &str, value: &str| {
        let compiled = parse::compile(&format!("^(?:{pattern})$"), parse::MAX_REGEX_BYTES);
        compiled.is_some_and(|(regex, _)| regex.is_match(value))
    };
    assert!(matches("\\w+", "a_1"));
    assert!(!matches("\\w+", "é"), "ASCII only");
    assert!(matches("(?i)T3\\..*", "t3.large"));
    assert!(matches("[^.]+", "m5"));
    // Unicode where the pattern has it.
    assert!(matches("caf[éè]", "café"));
    assert!(matches(".*", "é"));
}

#[test]
fn only_tasks_and_connections_make_an_expression_dynamic() {
    let is_static = |text| Expression::parse(text).is_ok_and(|parsed| parsed.is_static());
    assert!(is_static(
        "attribute:a exists and registeredAt > 2020-01-01"
    ));
    assert!(!is_static("attribute:a exists or not(task:group == a)"));
    assert!(!is_static("agentConnected == true"));
    assert!(!is_static("runningTasksCount < 5"));
}

/// A test with its result for [`instance`].
fn any_test() -> impl Strategy<Value = (String, bool)> {
    prop::sample::select(vec![
        ("attribute:slots == 9", true),
        ("attribute:slots in [1, 2]", false),
        ("task:group == family:batch", true),
        ("attribute:color exists", false),
    ])
    .prop_map(|(text, holds)| (text.to_owned(), holds))
}

/// An expression with its result, by structure.
fn any_expression() -> impl Strategy<Value = (String, bool)> {
    any_test().prop_recursive(6, 20, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|(text, holds)| (format!("not ({text})"), !holds)),
            pair.clone()
                .prop_map(|(a, b)| (format!("({}) and ({})", a.0, b.0), a.1 && b.1)),
            pair.prop_map(|(a, b)| (format!("({}) || ({})", a.0, b.0), a.1 || b.1)),
        ]
    })
}

proptest! {
    #[test]
    fn nested_expressions_hold_as_their_parts_do((text, expected) in any_expression()) {
        prop_assume!(text.len() <= MAX_CHARACTERS);
        prop_assert_eq!(holds(&text), expected);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[a-z:()\\[\\],'\"=!<>~&| ]{0,60}") {
        let _ = Expression::parse(&text);
    }
}
