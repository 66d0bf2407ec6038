//! `WWW-Authenticate`: how a registry wants its clients to sign in. PURE.
//!
//! Source: RFC 9110, section 11.6.1, and the token specification of the Distribution project.

/// A way to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Longest header that is parsed, in bytes.
const MAX_HEADER_BYTES: usize = 4_096;

/// The challenge of a header's value; `None` for a scheme that is not known. Bearer is preferred
/// where a value has several.
pub(crate) fn parse(header: &str) -> Option<Challenge> {
    if header.len() > MAX_HEADER_BYTES {
        return None;
    }
    let all = schemes(header);
    let bearer = all.iter().find_map(|(scheme, parameters)| {
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let get = |name: &str| {
            let mut found = parameters.iter();
            found
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        Some(Challenge::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
        })
    });
    let basic = || {
        let mut schemes = all.iter();
        let found = schemes.any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        found.then_some(Challenge::Basic)
    };
    bearer.or_else(basic)
}

type Scheme = (String, Vec<(String, String)>);

/// Splits a value into schemes and their parameters. A word without `=` begins a scheme.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut all: Vec<Scheme> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() && after.is_empty() {
            return all;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            all.push((word.to_owned(), Vec::new()));
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        if let Some((_, parameters)) = all.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A token, or a quoted text, at the start; and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn the_headers_of_known_registries_are_understood() {
        for (header, expected) in [
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                 scope=\"repository:library/alpine:pull\"",
                Some(bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/alpine:pull"),
                )),
            ),
            (
                r#"bearer Realm="https://ghcr.io/token", service=ghcr.io"#,
                Some(bearer("https://ghcr.io/token", Some("ghcr.io"), None)),
            ),
            (
                "Basic realm=\"https://1.dkr.ecr.eu-west-1.amazonaws.com/\",\
                 service=\"ecr.amazonaws.com\"",
                Some(Challenge::Basic),
            ),
            (
                r#"Basic realm="a, Bearer b", Bearer realm="https://x/t""#,
                Some(bearer("https://x/t", None, None)),
            ),
            ("Basic", Some(Challenge::Basic)),
            (r#"Bearer realm="a\"b""#, Some(bearer("a\"b", None, None))),
            ("Bearer service=x", None),
            ("Negotiate", None),
            ("=", None),
            ("", None),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_parsed_in_the_end(header in "[a-z =,\"\\\\]{0,60}") {
            let _ = parse(&header);
        }

        #[test]
        fn what_is_quoted_is_read_back(realm in "[ -~]{1,30}", service in "[ -~]{0,30}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!(
                "Bearer realm=\"{}\",service=\"{}\"", quote(&realm), quote(&service)
            );
            prop_assert_eq!(parse(&header), Some(bearer(&realm, Some(&service), None)));
        }
    }
}
