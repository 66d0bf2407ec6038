//! The regular expressions of the service models, each as a predicate, because a handful of
//! patterns does not justify a dependency on an engine. PURE.

mod ecr;

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
    (r"[\w]+", |text| !text.is_empty() && is_word(text, b"")),
    (r"[\w+=,.@-]*", |text| is_word(text, b"+=,.@-")),
    (r"[\w+=,.@:/-]*", |text| is_word(text, b"+=,.@:/-")),
    (r"[\w+=,.@-]+", |text| {
        !text.is_empty() && is_word(text, b"+=,.@-")
    }),
    (r"(\u002F)|(\u002F[\u0021-\u007E]+\u002F)", |text| {
        text == "/" || (text.len() > 2 && is_path(text, 0x7E) && text.ends_with('/'))
    }),
    (r"\u002F[\u0021-\u007F]*", |text| is_path(text, 0x7F)),
    (r"[\u0020-\u00FF]+", |text| {
        !text.is_empty() && text.chars().all(is_latin)
    }),
    (r"[\u0009\u000A\u000D\u0020-\u00FF]+", |text| {
        let legal = |character| is_latin(character) || "\t\n\r".contains(character);
        !text.is_empty() && text.chars().all(legal)
    }),
    (r"[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*", |text| {
        text.chars().all(is_description_character)
    }),
    (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", |text| {
        !text.is_empty() && text.chars().all(is_tag_character)
    }),
    (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", |text| {
        text.chars().all(is_tag_character)
    }),
    (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", |text| {
        text.chars().all(is_tag_character)
    }),
    (r"[a-zA-Z0-9\.\*\-]+", |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".*-".contains(&byte);
        !text.is_empty() && text.bytes().all(legal)
    }),
    (r"^\d{12}$", |text| {
        text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
    }),
    (r"[\w#+=/:,.@-]*", |text| is_word(text, b"#+=/:,.@-")),
    (r"[\.\-_/#A-Za-z0-9]+", |text| {
        !text.is_empty() && is_word(text, b".-/#")
    }),
    (r"[\.\-_/#A-Za-z0-9]*", |text| is_word(text, b".-/#")),
    ("[^:*]*", |text| !text.contains([':', '*'])),
    (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$", |text| {
        !text.is_empty() && text.chars().all(is_tag_character)
    }),
    (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$", |text| {
        text.chars().all(is_tag_character)
    }),
    (r"((/[A-Za-z0-9\.,\+@=_-]+)*)/", is_policy_path),
    (r"v[1-9][0-9]*(\.[A-Za-z0-9-]*)?", is_version_id),
    ("^([a-zA-Z0-9:/_-]+)$", |text| {
        !text.is_empty() && is_word(text, b":/-")
    }),
    (r"[0-9A-Za-z\-\_]+", |text| {
        !text.is_empty() && is_word(text, b"-")
    }),
    (r"^[a-zA-Z0-9\-]+$", |text| {
        !text.is_empty() && !text.contains('_') && is_word(text, b"-")
    }),
    (r"^([a-z]+-)+\d+$", is_region),
    (
        "^(tag:.+|Name|Type|KeyId|Path|Label|Tier|DataType)$",
        is_parameter_filter,
    ),
    (r"^\!?[a-zA-Z0-9 :_@\/\+\=\.\-\!]*$", |text| {
        is_word(text, b" :@/+=.-!")
    }),
    (
        r"^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$",
        is_account_alias,
    ),
];

fn all() -> impl Iterator<Item = &'static (&'static str, Predicate)> {
    PATTERNS.iter().chain(ecr::PATTERNS)
}

/// Does `text` satisfy `pattern`? A pattern that is not in the table refuses everything (a test
/// keeps the table whole).
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    all()
        .find(|(known, _)| *known == pattern)
        .is_some_and(|(_, predicate)| predicate(text))
}

#[cfg(test)]
pub(super) fn is_known(pattern: &str) -> bool {
    all().any(|(known, _)| *known == pattern)
}

/// Letters, digits, `_` and `more`, all in ASCII: IAM takes no others where its models write `\w`.
fn is_word(text: &str, more: &[u8]) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || more.contains(&byte))
}

/// Words of small letters with `-` after each, and a number.
fn is_region(text: &str) -> bool {
    let Some((words, number)) = text.rsplit_once('-') else {
        return false;
    };
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && words.split('-').all(word)
}

/// A member of parameters that filters name, or `tag:` and a key.
fn is_parameter_filter(text: &str) -> bool {
    let members = ["Name", "Type", "KeyId", "Path", "Label", "Tier", "DataType"];
    let tag = text.strip_prefix("tag:");
    members.contains(&text) || tag.is_some_and(|key| !key.is_empty() && !key.contains('\n'))
}

/// A character of Latin-1 that is no control of ASCII.
const fn is_latin(character: char) -> bool {
    matches!(character, ' '..='\u{FF}')
}

/// A printable character of Latin-1 without the no-break space, a tab or the end of a line.
const fn is_description_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{A1}'..='\u{FF}')
}

/// A `/`, then characters from `!` to `last`.
fn is_path(text: &str, last: u8) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| (b'!'..=last).contains(&byte))
}

/// Letters, numbers and separators of any script, and `_ . : / = + - @`.
fn is_tag_character(character: char) -> bool {
    let separator = character.is_whitespace() && !character.is_control();
    character.is_alphanumeric() || separator || "_.:/=+-@".contains(character)
}

/// `((/[A-Za-z0-9\.,\+@=_-]+)*)/`
fn is_policy_path(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".,+@=_-".contains(&byte);
    let inner = text.strip_prefix('/').map(|rest| rest.strip_suffix('/'));
    match inner {
        Some(Some(inner)) => inner
            .split('/')
            .all(|part| !part.is_empty() && part.bytes().all(legal)),
        Some(None) => text == "/",
        None => false,
    }
}

/// `v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`
fn is_version_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else {
        return false;
    };
    let (number, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    digits && !number.starts_with('0') && suffix.bytes().all(legal)
}

/// 3 to 63 lower-case letters, digits and dashes: no dash at an end, nor two in a row.
fn is_account_alias(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| !part.is_empty() && part.bytes().all(legal);
    (3..=63).contains(&text.len()) && text.split('-').all(part)
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
            (
                is_region,
                &["us-east-1", "a-0", "us-gov-west-12"],
                &["", "us", "us-", "-1", "us--1", "Us-1", "us-1a"],
            ),
            (
                is_parameter_filter,
                &["Name", "tag:a", "tag:tag:"],
                &["", "name", "tag:", "Names"],
            ),
            (
                is_version_id,
                &["v1", "v20", "v3.a-b", "v3."],
                &["", "v", "v0", "1", "v1a", "v.1", "v1._"],
            ),
            (
                is_policy_path,
                &["/", "/a/", "/a.b/c=d/"],
                &["", "a", "/a", "//", "/a//b/", "/a b/"],
            ),
            (
                |text| text.chars().all(is_description_character),
                &["", "for CI\n\u{e9}~"],
                &["\u{A0}", "\u{7F}", "\u{100}", "\0"],
            ),
            (
                |text| is_path(text, 0x7E),
                &["/", "/a~/"],
                &["", "a/", "/ /", "/\u{7F}"],
            ),
        ] {
            assert!(good.iter().all(|text| predicate(text)), "{good:?}");
            assert!(bad.iter().all(|text| !predicate(text)), "{bad:?}");
        }
        assert!(!matches("unheard of", "a"));
    }
}
