//! Where an event of several lines begins. PURE.
//!
//! Source: Docker's documentation of the `awslogs` driver, `awslogs-multiline-pattern` and
//! `awslogs-datetime-format`.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Memory of a compiled pattern, in bytes. One of a date takes some kilobytes.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// What each directive of a date matches.
const DIRECTIVES: &[(char, &str)] = &[
    ('a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    ('A', "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"),
    ('w', "[0-6]"),
    ('d', "(?:0[1-9]|[12][0-9]|3[01])"),
    ('b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
    (
        'B',
        "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
    ),
    ('m', "(?:0[1-9]|1[0-2])"),
    ('Y', "[0-9]{4}"),
    ('y', "[0-9]{2}"),
    ('H', "(?:[01][0-9]|2[0-3])"),
    ('I', "(?:0[0-9]|1[0-2])"),
    ('p', "[AP]M"),
    ('M', "[0-5][0-9]"),
    ('S', "[0-5][0-9]"),
    ('f', "[0-9]{6}"),
    ('z', "[+-][0-9]{4}"),
    ('Z', "[A-Z]{1,4}T"),
    ('j', "(?:[0-2][0-9]{2}|3[0-5][0-9]|36[0-6])"),
    ('L', r"\.[0-9]{3}"),
];

/// The pattern of the first line of an event; `None` where each line is one.
pub(super) fn first_line(options: &BTreeMap<String, String>) -> Option<String> {
    let option = |name: &str| options.get(name).filter(|value| !value.is_empty());
    if let Some(pattern) = option("awslogs-multiline-pattern") {
        return Some(pattern.clone());
    }
    option("awslogs-datetime-format").map(|format| of_date(format))
}

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compiled(pattern: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    let compiled = builder.size_limit(MAX_PATTERN_BYTES).build();
    compiled
        .map_err(|why| format!("awslogs could not parse multiline pattern key {pattern:?}: {why}"))
}

/// A date as a pattern. What stands between its directives is one already.
fn of_date(format: &str) -> String {
    let mut pattern = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            pattern.push(c);
            continue;
        }
        let Some(letter) = rest.next() else {
            pattern.push(c);
            break;
        };
        match DIRECTIVES.iter().find(|(known, _)| *known == letter) {
            Some((_, matches)) => pattern.push_str(matches),
            None => pattern.extend([c, letter]),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Option<Regex> {
        let options = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        first_line(&options).map(|pattern| compiled(&pattern).expect("a pattern"))
    }

    #[test]
    fn dates_begin_an_event() {
        let cases = [
            ("%Y-%m-%d %H:%M:%S", "2026-02-28 23:59:01 started"),
            (
                r"\[%b %d, %Y %I:%M:%S %p\]",
                "[Feb 28, 2026 11:59:01 PM] started",
            ),
            ("%A %d %B %y %j %w", "Wednesday 01 April 26 091 3"),
            ("%H:%M:%S%L %z", "01:02:03.004 +0100"),
            ("%a %f %Z", "Tue 000001 CEST"),
        ];
        for (format, line) in cases {
            let pattern = of("awslogs-datetime-format", format).expect("a pattern");
            assert!(pattern.is_match(line), "{format}");
            assert!(!pattern.is_match("  at main.rs:12"), "{format}");
        }
    }

    #[test]
    fn patterns_are_as_written() {
        let pattern = of("awslogs-multiline-pattern", "^INFO").expect("a pattern");
        assert!(pattern.is_match("INFO x") && !pattern.is_match("x INFO"));
        assert!(of("awslogs-multiline-pattern", "").is_none());
        assert!(of("awslogs-group", "g").is_none());
        assert!(compiled("(").is_err());
        assert!(compiled("((a{1000}){1000}){1000}").is_err());
    }
}
