//! The regular expressions of the service models, each as a predicate, because a handful of
//! patterns does not justify a dependency on an engine. PURE.

type Predicate = fn(&str) -> bool;

/// Pattern text, as the models have it, and what it means. Every pattern covers the whole text.
const PATTERNS: &[(&str, Predicate)] = &[
    ("[0-9]{12}", |text| {
        text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
    }),
    (
        r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
        |text| text.split('/').all(is_name_part),
    ),
    ("[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+", is_digest),
    (
        "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        is_uuid,
    ),
    ("^[0-9a-zA-Z._*-]{1,128}$", |text| {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte))
    }),
    (r"[\w]*", |text| is_word(text, b"")),
    (r"[\d]*", |text| {
        text.bytes().all(|byte| byte.is_ascii_digit())
    }),
    (r"[\w+=/:,.@-]*", |text| is_word(text, b"+=/:,.@-")),
];

/// Does `text` satisfy `pattern`? A pattern that is not in the table refuses everything (a test
/// keeps the table whole).
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    PATTERNS
        .iter()
        .find(|(known, _)| *known == pattern)
        .is_some_and(|(_, predicate)| predicate(text))
}

#[cfg(test)]
pub(super) fn is_known(pattern: &str) -> bool {
    PATTERNS.iter().any(|(known, _)| *known == pattern)
}

/// Letters, digits, `_` and `more`, all in ASCII: IAM takes no others where its models write `\w`.
fn is_word(text: &str, more: &[u8]) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || more.contains(&byte))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name_part(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|byte| alphanumeric(*byte))
        && bytes.last().is_some_and(|byte| alphanumeric(*byte));
    ends && bytes
        .chunk_by(|a, b| alphanumeric(*a) == alphanumeric(*b))
        .all(|run| {
            alphanumeric(run[0])
                || matches!(run, b"." | b"_" | b"__")
                || run.iter().all(|byte| *byte == b'-')
        })
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
        !algorithm.is_empty()
            && algorithm.bytes().all(legal)
            && !hex.is_empty()
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    let sized = lengths.iter().all(|length| {
        parts
            .next()
            .is_some_and(|part| part.len() == *length && is_hex(part))
    });
    sized && parts.next().is_none()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_agree_with_their_patterns() {
        for (predicate, good, bad) in [
            (
                is_name_part as Predicate,
                &["a", "a.b", "a--b", "a__b0"][..],
                &["", "A", "a..b", "-a", "a_", "a._b", "é"][..],
            ),
            (
                is_digest,
                &["sha256:0aF", "a+b.c-d_e:1"],
                &["", ":", "a:", ":a", "a:g", "a b:0", "a:b:0"],
            ),
            (
                is_uuid,
                &["00000000-aaaa-BBBB-0000-000000000000"],
                &[
                    "",
                    "00000000",
                    "00000000-aaaa-bbbb-0000-00000000000g",
                    "----",
                ],
            ),
        ] {
            assert!(good.iter().all(|text| predicate(text)), "{good:?}");
            assert!(bad.iter().all(|text| !predicate(text)), "{bad:?}");
        }
        assert!(!matches("unheard of", "a"));
    }
}
