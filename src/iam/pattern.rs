//! Texts with `*`, `?` and `${variable}` in them, and ARNs made of such texts. PURE.
//!
//! Source: IAM JSON policy elements reference, "Resource" and "Variables and tags".

use std::borrow::Cow;

/// Gives the value of a policy variable such as `aws:username`: `None` where the request has none,
/// or more than one.
pub(super) trait Variables {
    fn variable(&self, key: &str) -> Option<Cow<'_, str>>;
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    /// `${` without its `}`, an empty name, or a default that is not in single quotes.
    Variable,
}

/// Which of the signs mean more than themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${…}`; only in documents of version 2012-10-17.
    pub(super) variables: bool,
}

/// A compiled text with signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    glyphs: Vec<Glyph>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Glyph {
    /// These bytes, which are whole UTF-8 characters.
    Text(Box<str>),
    /// `?`: exactly one character.
    One,
    /// `*`: any run of characters.
    Run,
    /// `${key}` or `${key, 'default'}`.
    Variable {
        key: Box<str>,
        default: Option<Box<str>>,
    },
}

/// What a pattern says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Matches,
    Differs,
    /// A variable of the pattern has no value in this request, so the pattern cannot say.
    Unresolved,
}

impl Pattern {
    pub(super) fn compile(text: &str, signs: Signs) -> Result<Self, PatternError> {
        let mut glyphs = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if signs.variables && rest.starts_with("${") {
                let (inner, after) = rest[2..].split_once('}').ok_or(PatternError::Variable)?;
                rest = after;
                if let "*" | "?" | "$" = inner {
                    plain.push_str(inner);
                    continue;
                }
                flush(&mut plain, &mut glyphs);
                glyphs.push(variable(inner)?);
                continue;
            }
            rest = &rest[character.len_utf8()..];
            match character {
                '*' if signs.wildcards => {
                    flush(&mut plain, &mut glyphs);
                    if glyphs.last() != Some(&Glyph::Run) {
                        glyphs.push(Glyph::Run);
                    }
                }
                '?' if signs.wildcards => {
                    flush(&mut plain, &mut glyphs);
                    glyphs.push(Glyph::One);
                }
                _ => plain.push(character),
            }
        }
        flush(&mut plain, &mut glyphs);
        Ok(Self { glyphs })
    }

    /// The lone `*`.
    pub(super) fn any() -> Self {
        Self {
            glyphs: vec![Glyph::Run],
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.glyphs == [Glyph::Run]
    }

    /// The text, where the pattern has no signs in it.
    #[cfg(test)]
    fn literal(&self) -> Option<&str> {
        match self.glyphs.as_slice() {
            [] => Some(""),
            [Glyph::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Compares `text` whole, letter by letter.
    pub(super) fn matches(&self, text: &str, variables: &dyn Variables) -> Verdict {
        match self.resolved(variables) {
            Some(glyphs) => verdict(fits(&glyphs, text.as_bytes(), <[u8]>::starts_with)),
            None => Verdict::Unresolved,
        }
    }

    /// Compares `text` whole; ASCII letters match whatever their case. For action names: holds no
    /// variables.
    pub(super) fn matches_ignoring_ascii_case(&self, text: &str) -> bool {
        fits(&self.glyphs, text.as_bytes(), |text, prefix| {
            text.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
    }

    /// The text that a pattern without wildcards stands for in this request.
    pub(super) fn expand(&self, variables: &dyn Variables) -> Option<String> {
        let mut text = String::new();
        for glyph in self.resolved(variables)?.iter() {
            match glyph {
                Glyph::Text(part) => text.push_str(part),
                Glyph::One => text.push('?'),
                Glyph::Run => text.push('*'),
                Glyph::Variable { .. } => return None,
            }
        }
        Some(text)
    }

    /// The glyphs with each variable replaced by its value as plain text, so that a `*` inside a
    /// value stands for itself.
    fn resolved(&self, variables: &dyn Variables) -> Option<Cow<'_, [Glyph]>> {
        if !self
            .glyphs
            .iter()
            .any(|glyph| matches!(glyph, Glyph::Variable { .. }))
        {
            return Some(Cow::Borrowed(&self.glyphs));
        }
        let resolve = |glyph: &Glyph| match glyph {
            Glyph::Variable { key, default } => match variables.variable(key) {
                Some(value) => Some(Glyph::Text(value.into())),
                None => default.clone().map(Glyph::Text),
            },
            other => Some(other.clone()),
        };
        self.glyphs
            .iter()
            .map(resolve)
            .collect::<Option<Vec<_>>>()
            .map(Cow::Owned)
    }

    /// Cuts at the first `count - 1` colons of the plain text; fewer pieces where there are fewer
    /// colons.
    fn split_at_colons(self, count: usize) -> Vec<Self> {
        let mut pieces = vec![Self { glyphs: Vec::new() }];
        for glyph in self.glyphs {
            let Glyph::Text(text) = &glyph else {
                push(&mut pieces, glyph);
                continue;
            };
            let parts = text.splitn(count + 1 - pieces.len(), ':');
            for (at, part) in parts.enumerate() {
                if at > 0 {
                    pieces.push(Self { glyphs: Vec::new() });
                }
                if !part.is_empty() {
                    push(&mut pieces, Glyph::Text(part.into()));
                }
            }
        }
        pieces
    }
}

fn push(pieces: &mut [Pattern], glyph: Glyph) {
    if let Some(piece) = pieces.last_mut() {
        piece.glyphs.push(glyph);
    }
}

fn flush(plain: &mut String, glyphs: &mut Vec<Glyph>) {
    if !plain.is_empty() {
        glyphs.push(Glyph::Text(std::mem::take(plain).into()));
    }
}

/// Reads what stands between `${` and `}`.
fn variable(inner: &str) -> Result<Glyph, PatternError> {
    let (key, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((key, default)) => {
            let text = default
                .trim()
                .strip_prefix('\'')
                .and_then(|text| text.strip_suffix('\''))
                .ok_or(PatternError::Variable)?;
            (key, Some(text.into()))
        }
    };
    let key = key.trim();
    if key.is_empty()
        || key.contains(|character: char| {
            character.is_whitespace() || matches!(character, '$' | '{' | '\'')
        })
    {
        return Err(PatternError::Variable);
    }
    Ok(Glyph::Variable {
        key: key.into(),
        default,
    })
}

fn verdict(matches: bool) -> Verdict {
    if matches {
        Verdict::Matches
    } else {
        Verdict::Differs
    }
}

/// Do the glyphs cover the whole of `text`? On a mismatch only the last `*` is widened, so the time
/// is at most the product of both lengths, whatever the pattern.
fn fits(glyphs: &[Glyph], text: &[u8], begins_with: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let (mut at, mut place) = (0, 0);
    // The glyph after the last `*`, and where the text that it stands for ends so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let next = match glyphs.get(at) {
            None if place == text.len() => return true,
            Some(Glyph::Run) if at + 1 == glyphs.len() => return true,
            Some(Glyph::Run) => {
                star = Some((at + 1, place));
                Some(place)
            }
            Some(Glyph::Text(part)) if begins_with(&text[place..], part.as_bytes()) => {
                Some(place + part.len())
            }
            Some(Glyph::One) if place < text.len() => Some(place + character_len(text[place])),
            _ => None,
        };
        if let Some(next) = next {
            at += 1;
            place = next;
            continue;
        }
        let Some((after, end)) = star.filter(|(_, end)| *end < text.len()) else {
            return false;
        };
        let end = end + character_len(text[end]);
        star = Some((after, end));
        (at, place) = (after, end);
    }
}

/// Bytes of the UTF-8 character that begins with `first`.
const fn character_len(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

/// An ARN with signs: each of the six fields is compared by itself, so that a `*` never crosses a
/// colon of the first five. Missing fields at the end count as `*` ("Incomplete ARNs" in the
/// reference).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArnPattern {
    Any,
    Fields(Box<[Pattern; ARN_FIELDS]>),
}

const ARN_FIELDS: usize = 6;

impl ArnPattern {
    pub(super) fn compile(text: &str, signs: Signs) -> Result<Self, PatternError> {
        let whole = Pattern::compile(text, signs)?;
        if whole.is_any() {
            return Ok(Self::Any);
        }
        let mut fields = whole.split_at_colons(ARN_FIELDS).into_iter();
        Ok(Self::Fields(Box::new(std::array::from_fn(|_| {
            fields.next().unwrap_or_else(Pattern::any)
        }))))
    }

    /// Compares `text`, an ARN or what stands in its place; a text with fewer than six fields
    /// differs.
    pub(super) fn matches(&self, text: &str, variables: &dyn Variables) -> Verdict {
        let Self::Fields(fields) = self else {
            return Verdict::Matches;
        };
        let mut parts = text.splitn(ARN_FIELDS, ':');
        let mut unresolved = false;
        for field in fields.iter() {
            let Some(part) = parts.next() else {
                return Verdict::Differs;
            };
            match field.matches(part, variables) {
                Verdict::Matches => {}
                Verdict::Differs => return Verdict::Differs,
                Verdict::Unresolved => unresolved = true,
            }
        }
        if unresolved {
            Verdict::Unresolved
        } else {
            Verdict::Matches
        }
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;
    use wharfinger_aws::wildcard_match;

    use super::*;

    const ALL: Signs = Signs {
        wildcards: true,
        variables: true,
    };

    struct Name(Option<&'static str>);

    impl Variables for Name {
        fn variable(&self, key: &str) -> Option<Cow<'_, str>> {
            if key == "aws:username" {
                self.0.map(Cow::Borrowed)
            } else {
                None
            }
        }
    }

    fn matches(pattern: &str, text: &str, name: Option<&'static str>) -> Verdict {
        Pattern::compile(pattern, ALL)
            .expect("a pattern")
            .matches(text, &Name(name))
    }

    #[test]
    fn a_variable_is_plain_text() {
        assert_eq!(
            matches("home/${aws:username}/*", "home/ann/x", Some("ann")),
            Verdict::Matches
        );
        assert_eq!(
            matches("home/${aws:username}/*", "home/bob/x", Some("ann")),
            Verdict::Differs
        );
        assert_eq!(
            matches("home/${aws:username}", "home/anything", Some("*")),
            Verdict::Differs
        );
        assert_eq!(
            matches("home/${aws:username}", "home/*", Some("*")),
            Verdict::Matches
        );
        assert_eq!(
            matches("home/${aws:username}", "home/x", None),
            Verdict::Unresolved
        );
        assert_eq!(
            matches(
                "home/${aws:username, 'guest, too'}",
                "home/guest, too",
                None
            ),
            Verdict::Matches
        );
        assert_eq!(matches("${*}${?}${$}{*", "*?${x", None), Verdict::Matches);
        assert_eq!(matches("${*}", "x", None), Verdict::Differs);
    }

    #[test]
    fn broken_variables_are_refused_and_old_documents_have_none() {
        for bad in [
            "${",
            "${aws:username",
            "${}",
            "${ }",
            "${a, b}",
            "${a b}",
            "${${a}}",
        ] {
            assert_eq!(
                Pattern::compile(bad, ALL),
                Err(PatternError::Variable),
                "{bad}"
            );
        }
        let old = Signs {
            wildcards: true,
            variables: false,
        };
        assert_eq!(
            Pattern::compile("${aws:username", old)
                .expect("a pattern")
                .literal(),
            Some("${aws:username")
        );
    }

    #[test]
    fn fields_of_an_arn_stand_for_themselves() {
        let check = |pattern: &str, text: &str| {
            ArnPattern::compile(pattern, ALL)
                .expect("a pattern")
                .matches(text, &Name(Some("a:b")))
        };
        let web = "arn:aws:ecr:us-east-1:123456789012:repository/web";
        for (pattern, expected) in [
            ("*", true),
            ("arn:aws:ecr:*", true),
            ("arn:aws:ecr", true),
            ("arn:aws:s3*", false),
            ("arn:aws:ecr:*:*:repository/*", true),
            ("arn:aws:ecr:*:repository/web", false),
            ("arn:*:ecr:us-????-1:123456789012:repository/w?b", true),
            ("arn:aws:ecr:us-east-1:123456789012:repository/we", false),
        ] {
            assert_eq!(check(pattern, web), verdict(expected), "{pattern}");
        }
        assert_eq!(
            check("arn:aws:ecr:*:*:${aws:username}", "arn:aws:ecr:r:1:a:b"),
            Verdict::Matches
        );
        assert_eq!(
            check("arn:aws:ecr:${aws:username}:*:x", "arn:aws:ecr:a:b:x:y"),
            Verdict::Differs
        );
        assert_eq!(check("arn:aws:ecr:*", "web"), Verdict::Differs);
    }

    #[test]
    fn a_hostile_pattern_is_answered_at_once() {
        assert_eq!(
            matches(&format!("{}b", "*a".repeat(500)), &"a".repeat(10_000), None),
            Verdict::Differs
        );
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_the_arn_room(pattern in "[ab*?é]{0,10}", text in "[abé]{0,12}") {
            prop_assert_eq!(matches(&pattern, &text, None), verdict(wildcard_match(&pattern, &text)));
        }

        #[test]
        fn case_is_ignored_where_asked(pattern in "[a-cA-C*?]{0,8}", text in "[a-cA-C]{0,8}") {
            let folded = wildcard_match(&pattern.to_lowercase(), &text.to_lowercase());
            prop_assert_eq!(Pattern::compile(&pattern, ALL).expect("a pattern").matches_ignoring_ascii_case(&text), folded);
        }

        #[test]
        fn any_text_compiles_or_is_refused(text in "[${}*?:, 'a]{0,16}|\\PC{0,40}", against in "\\PC{0,40}") {
            if let Ok(pattern) = ArnPattern::compile(&text, ALL) {
                pattern.matches(&against, &Name(Some("x")));
            }
        }
    }
}
