//! The patterns that only the model of ECR has. PURE.

use crate::constraints::pattern::{Predicate, is_name_part, is_word};

pub(super) const PATTERNS: &[(&str, Predicate)] = &[
    (
        concat!(
            r"^arn:aws(-\w+)*:secretsmanager:[a-zA-Z0-9-:]+:secret:",
            r"ecr\-pullthroughcache\/[a-zA-Z0-9\/_+=.@-]+$"
        ),
        is_upstream_secret,
    ),
    (
        r"^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\/?|ROOT)$",
        is_prefix,
    ),
    (
        r"^arn:aws(-[a-z]+)*:iam::[0-9]{12}:(role|user)/[\w+=,.@-]+(/[\w+=,.@-]+)*$",
        is_principal,
    ),
    (r"^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$", |text| {
        is_filter(text, b"._-/")
    }),
    (
        r"^(?:[a-z0-9*]+(?:[._-][a-z0-9*]+)*/)*[a-z0-9*]+(?:[._-][a-z0-9*]+)*$",
        |text| text.split('/').all(|part| is_filter(part, b"._-")),
    ),
    (
        r"^arn:aws(-[a-z]+)*:signer:[a-z0-9-]+:[0-9]{12}:\/signing-profiles\/[a-zA-Z0-9_]{2,}$",
        is_signing_profile,
    ),
    (
        r"^$|arn:aws[a-z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/[a-z0-9-]+",
        is_optional_kms_key,
    ),
    (r"[0-9a-z-]{2,25}", |text| {
        (2..=25).contains(&text.len()) && is_dashed(text)
    }),
    (
        r"^(?:[a-z0-9]+(?:[._-][a-z0-9]*)*/)*[a-z0-9]*(?:[._-][a-z0-9]*)*$",
        is_name_beginning,
    ),
];

/// The beginning of repository names, which may end anywhere within a name.
fn is_name_beginning(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let legal = |part: &str| {
        part.bytes()
            .all(|byte| is_letter(byte) || b"._-".contains(&byte))
    };
    let (folders, last) = text.rsplit_once('/').unwrap_or(("", text));
    let begins = |part: &str| part.bytes().next().is_some_and(is_letter);
    let mut folders = folders.split('/').filter(|_| text.contains('/'));
    folders.all(|part| begins(part) && legal(part)) && legal(last)
}

/// The beginning of repository names, with or without a slash at its end, or `ROOT`.
fn is_prefix(text: &str) -> bool {
    let name = text.strip_suffix('/').unwrap_or(text);
    text == "ROOT" || name.split('/').all(is_name_part)
}

/// Small letters, digits and `*`, with single separators between them.
fn is_filter(text: &str, separators: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'*';
    let parts = text.as_bytes().split(|byte| separators.contains(byte));
    let mut parts = parts.into_iter();
    parts.all(|part| !part.is_empty() && part.iter().all(|byte| is_letter(*byte)))
}

/// The six fields of an ARN.
fn fields(text: &str) -> Option<[&str; 6]> {
    let mut fields = text.splitn(6, ':');
    let mut next = || fields.next();
    Some([next()?, next()?, next()?, next()?, next()?, next()?])
}

fn is_partition(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("aws") else {
        return false;
    };
    let mut words = rest.split('-');
    let letters = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.next() == Some("") && words.all(|word| !word.is_empty() && letters(word))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Small letters, digits and dashes; at least one.
fn is_dashed(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(legal)
}

fn is_principal(text: &str) -> bool {
    let Some(["arn", partition, "iam", "", account, resource]) = fields(text) else {
        return false;
    };
    let Some(("role" | "user", path)) = resource.split_once('/') else {
        return false;
    };
    let part = |part: &str| !part.is_empty() && is_word(part, b"+=,.@-");
    is_partition(partition) && is_account(account) && path.split('/').all(part)
}

/// The ARN of a secret for the pull-through cache, in any account and region.
fn is_upstream_secret(text: &str) -> bool {
    let Some((start, name)) = text.split_once(":secret:ecr-pullthroughcache/") else {
        return false;
    };
    let Some((partition, home)) = start.split_once(":secretsmanager:") else {
        return false;
    };
    let partition = partition.strip_prefix("arn:aws");
    let word = |word: &str| !word.is_empty() && is_word(word, b"");
    partition.is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|words| words.split('-').all(word))
    }) && !home.is_empty()
        && !home.contains('_')
        && is_word(home, b"-:")
        && !name.is_empty()
        && is_word(name, b"/+=.@-")
}

fn is_signing_profile(text: &str) -> bool {
    let Some(["arn", partition, "signer", region, account, resource]) = fields(text) else {
        return false;
    };
    let name = resource.strip_prefix("/signing-profiles/");
    is_partition(partition)
        && is_dashed(region)
        && is_account(account)
        && name.is_some_and(|name| name.len() >= 2 && is_word(name, b""))
}

fn is_optional_kms_key(text: &str) -> bool {
    let Some(["arn", partition, "kms", region, account, resource]) = fields(text) else {
        return text.is_empty();
    };
    let rest = partition.strip_prefix("aws");
    rest.is_some_and(|rest| rest.is_empty() || is_dashed(rest))
        && is_dashed(region)
        && is_account(account)
        && resource.strip_prefix("key/").is_some_and(is_dashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_agree_with_their_patterns() {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ecr-pullthroughcache/";
        let upstream_secrets = [
            &format!("{secret}a/b_+=.@-C"),
            &secret
                .replace("arn:aws", "arn:aws-us-gov")
                .replace("cache/", "cache/x"),
        ];
        assert!(upstream_secrets.iter().all(|text| is_upstream_secret(text)));
        for text in [
            secret,
            &secret.replace("cache/", "cach/x"),
            &secret.replace("cache/", "cache/x y"),
            &secret
                .replace("arn:aws", "arn:aws-")
                .replace("cache/", "cache/x"),
            &secret
                .replace("eu-west-1", "eu_west")
                .replace("cache/", "cache/x"),
            "",
        ] {
            assert!(!is_upstream_secret(text), "{text}");
        }
        for (predicate, good, bad) in [
            (
                is_prefix as Predicate,
                &["a", "a/", "a/b-c", "ROOT"][..],
                &["", "/", "a//", "ROOT/", "root/A", "/a"][..],
            ),
            (
                is_principal,
                &[
                    "arn:aws:iam::123456789012:role/a/b+c",
                    "arn:aws-us-gov:iam::123456789012:user/ann",
                ],
                &[
                    "arn:aws:iam::123456789012:role/",
                    "arn:aws:iam::123456789012:group/a",
                    "arn:aws:iam::12:role/a",
                    "arn:aws:iam:us-east-1:123456789012:role/a",
                    "arn:awsx:iam::123456789012:role/a",
                    "arn:aws:iam::123456789012:role/a//b",
                ],
            ),
            (
                |text| is_filter(text, b"._-/"),
                &["*", "prod/*", "*web*", "a.b-c_d/e", "**"],
                &["", "/a", "a/", "a--b", "A", "a b"],
            ),
            (
                |text| text.split('/').all(|part| is_filter(part, b"._-")),
                &["*/production", "a-b/c"],
                &["", "a//b", "a-/b", "-a"],
            ),
            (
                is_name_beginning,
                &["", "prod", "prod/", "a.b-/c", "a/b/-c", "-", "a.."],
                &["/", "/a", "a//b", "-a/b", "A", "a*", "a b/"],
            ),
            (
                is_signing_profile,
                &["arn:aws:signer:us-east-1:123456789012:/signing-profiles/a_1"],
                &[
                    "arn:aws:signer:us-east-1:123456789012:/signing-profiles/a",
                    "arn:aws:signer::123456789012:/signing-profiles/ab",
                    "arn:aws:signer:us-east-1:123456789012:/signing-profiles/a-b",
                ],
            ),
            (
                is_optional_kms_key,
                &["", "arn:aws:kms:us-east-1:123456789012:key/0-a"],
                &["x", "arn:aws:kms:us-east-1:123456789012:alias/a"],
            ),
        ] {
            for text in good {
                assert!(predicate(text), "{text}");
            }
            for text in bad {
                assert!(!predicate(text), "{text}");
            }
        }
    }
}
