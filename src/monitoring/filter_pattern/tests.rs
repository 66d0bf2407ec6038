//! Patterns find what the user guide says that they find.

use proptest::prelude::*;

use super::*;

fn is_match(pattern: &str, message: &str) -> bool {
    FilterPattern::parse(pattern)
        .unwrap_or_else(|error| panic!("{pattern}: {error}"))
        .matches(message)
}

#[test]
fn terms_are_all_required_unless_marked() {
    let cases = [
        ("", "anything", true),
        ("ERROR", "[ERROR] 419", true),
        ("error", "[ERROR] 419", false),
        ("ERROR ARGUMENTS", "[ERROR] 1 ARGUMENTS", true),
        ("ERROR ARGUMENTS", "[ERROR] 1", false),
        ("?ERROR ?ARGUMENTS", "ARGUMENTS missing", true),
        ("?ERROR ?ARGUMENTS", "fine", false),
        ("ERROR -ARGUMENTS", "[ERROR] 1 ARGUMENTS", false),
        ("ERROR -ARGUMENTS", "[ERROR] 1", true),
        (
            "\"INTERNAL SERVER ERROR\"",
            "500 INTERNAL SERVER ERROR",
            true,
        ),
        ("\"INTERNAL SERVER ERROR\"", "INTERNAL ERROR SERVER", false),
        ("%AUTHORIZED|ERROR%", "NOT AUTHORIZED", true),
    ];
    for (pattern, message, expected) in cases {
        assert_eq!(
            is_match(pattern, message),
            expected,
            "{pattern} on {message}"
        );
    }
}

#[test]
fn json_selectors_compare_members() {
    let message = r#"{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "n": 3.5,
        "arrayKey": ["value", "another value"], "objectList": [{"name": "a", "id": 1}, {"id": 2}],
        "SomeObject": null, "ThisFlag": true, "nested": {"key.with": "x"}}"#;
    let cases = [
        (r#"{ $.eventType = "UpdateTrail" }"#, true),
        (r"{ $.eventType = UpdateTrail }", true),
        (r#"{ $.eventType != "UpdateTrail" }"#, false),
        (r"{ $.sourceIPAddress != 123.123.* }", true),
        (r"{ $.sourceIPAddress = 111.111.* }", true),
        (r#"{ $.arrayKey[0] = "value" }"#, true),
        (r#"{ $.arrayKey[1] = "value" }"#, false),
        (r"{ $.objectList[1].id = 2 }", true),
        (r"{ $.objectList[*].id = 2 }", true),
        (r"{ $.SomeObject IS NULL }", true),
        (r"{ $.SomeOtherObject NOT EXISTS }", true),
        (r"{ $.n EXISTS }", true),
        (r"{ $.ThisFlag IS TRUE }", true),
        (r"{ $.n > 3 && $.n <= 3.5 }", true),
        (r"{ ($.n > 4) || ($.eventType = %^Update%) }", true),
        (r"{ $.n < 3 }", false),
        (r"{ $.missing = 1 }", false),
        (r"{ $.nested['key.with'] = x }", true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(is_match(pattern, message), expected, "{pattern}");
    }
    assert!(!is_match("{ $.a = 1 }", "no JSON"));
}

#[test]
fn fields_stand_between_spaces() {
    let message =
        r#"127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    let cases = [
        (
            "[ip, env, user, timestamp, request, status_code, bytes]",
            true,
        ),
        ("[ip, env, user, timestamp, request, status_code]", false),
        (
            "[ip=127.*, env, user, timestamp, request, status_code=4*, bytes>1000]",
            true,
        ),
        ("[..., status_code=4*, bytes]", true),
        ("[..., status_code=5*, bytes]", false),
        ("[ip, ..., bytes < 1000 || bytes = 1534]", true),
        ("[ip, env, user!=frank, ...]", false),
        ("[ip, env, user, timestamp, request =%HTTP/1%, ...]", true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(is_match(pattern, message), expected, "{pattern}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    let open = "{ ".to_owned() + &"(".repeat(40) + "$.a = 1" + &")".repeat(40) + " }";
    let bad = [
        "{ $.a }",
        "{ a = 1 }",
        "{ $.a = 1",
        "[a, ..., b, ...]",
        "\"open",
        "a:b",
        "- ",
        "%(%",
        "{ $.a IS 5 }",
        "{ $.a = 1 ) }",
        &open,
    ];
    for pattern in bad {
        assert!(FilterPattern::parse(pattern).is_err(), "{pattern}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(pattern in ".{0,40}", message in ".{0,80}") {
        for pattern in [pattern.clone(), format!("{{{pattern}}}"), format!("[{pattern}]")] {
            if let Ok(parsed) = FilterPattern::parse(&pattern) {
                parsed.matches(&message);
            }
        }
    }
}
