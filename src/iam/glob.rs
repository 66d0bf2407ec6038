//! Matches texts against patterns with `*` and `?` in bounded time. PURE.
//!
//! A pattern is cut at its `*` into segments, which are searched for from left to right: the first
//! is anchored at the start of the text, the last at its end. A segment without `?` is found in
//! linear time by `memchr::memmem`. A segment with `?` is found by the bit-parallel Shift-And
//! algorithm (Baeza-Yates and Gonnet, 1992), which takes one word operation for each character of
//! the text and each 64 characters of the segment.

use memchr::memmem;

use crate::budget::Meter;

/// Steps counted for a comparison besides the bytes that it reads.
const COMPARISON_STEPS: usize = 16;

/// Bits of a word of the Shift-And state.
const WORD_BITS: usize = u64::BITS as usize;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// These characters.
    Text(Box<str>),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters.
    Run,
}

/// A pattern without variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    /// Bytes of the shortest text that can match.
    min_bytes: usize,
}

impl Glob {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        let min_bytes = tokens.iter().map(Token::min_bytes).sum();
        Self { tokens, min_bytes }
    }

    /// Whether this is the pattern `*`.
    pub(super) fn is_any(&self) -> bool {
        self.tokens == [Token::Run]
    }

    /// The text of a pattern without wildcards.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.tokens.as_slice() {
            [] => Some(""),
            [Token::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the pattern matches all of `text`; case counts.
    pub(super) fn matches(&self, text: &str, meter: &Meter<'_>) -> bool {
        if !meter.spend(COMPARISON_STEPS) || self.min_bytes > text.len() {
            return false;
        }
        // Most patterns of real policies have one of these three forms.
        match self.tokens.as_slice() {
            [Token::Run] => return true,
            [Token::Text(whole)] => return meter.spend(whole.len()) && **whole == *text,
            [Token::Text(start), Token::Run] => {
                return meter.spend(start.len()) && text.starts_with(&**start);
            }
            _ => {}
        }
        let mut segments = self.tokens.split(|token| *token == Token::Run);
        let first = segments.next().unwrap_or_default();
        let last = segments.next_back();
        let Some(mut rest) = strip_start(first, text, meter) else {
            return false;
        };
        let Some(last) = last else {
            return rest.is_empty();
        };
        match strip_end(last, rest, meter) {
            Some(before) => rest = before,
            None => return false,
        }
        for segment in segments {
            match after_first(segment, rest, meter) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl Token {
    fn min_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::One => 1,
            Self::Run => 0,
        }
    }
}

/// Removes one occurrence of a segment from the start of `text`.
fn strip_start<'t>(segment: &[Token], text: &'t str, meter: &Meter<'_>) -> Option<&'t str> {
    segment.iter().try_fold(text, |text, token| {
        if !meter.spend(token.min_bytes()) {
            return None;
        }
        match token {
            Token::Text(part) => text.strip_prefix(&**part),
            Token::One | Token::Run => skip_characters(text, 1),
        }
    })
}

/// Removes one occurrence of a segment from the end of `text`.
fn strip_end<'t>(segment: &[Token], text: &'t str, meter: &Meter<'_>) -> Option<&'t str> {
    segment.iter().rev().try_fold(text, |text, token| {
        if !meter.spend(token.min_bytes()) {
            return None;
        }
        match token {
            Token::Text(part) => text.strip_suffix(&**part),
            Token::One | Token::Run => {
                let mut characters = text.chars();
                characters.next_back()?;
                Some(characters.as_str())
            }
        }
    })
}

/// What follows the first occurrence of a segment within `text`. The first occurrence leaves the
/// most text for the segments that follow, so no other one needs to be tried.
fn after_first<'t>(segment: &[Token], text: &'t str, meter: &Meter<'_>) -> Option<&'t str> {
    let is_one = |token: &&Token| **token == Token::One;
    let leading = segment.iter().take_while(is_one).count();
    let core = &segment[leading..];
    let trailing = core.iter().rev().take_while(is_one).count();
    let core = &core[..core.len() - trailing];
    if !meter.spend(leading + trailing) {
        return None;
    }
    let text = skip_characters(text, leading)?;
    let after = match core {
        [] => text,
        [Token::Text(part)] => {
            let found = memmem::find(text.as_bytes(), part.as_bytes());
            let read = found.unwrap_or(text.len()) + part.len();
            if !meter.spend(COMPARISON_STEPS + read) {
                return None;
            }
            text.get(found? + part.len()..)?
        }
        _ => text.get(ShiftAnd::new(core, meter)?.first_end(text, meter)?..)?,
    };
    skip_characters(after, trailing)
}

fn skip_characters(text: &str, count: usize) -> Option<&str> {
    if count == 0 {
        return Some(text);
    }
    let mut characters = text.chars();
    characters.nth(count - 1)?;
    Some(characters.as_str())
}

/// The search for a segment that holds `?`.
struct ShiftAnd {
    /// Characters of the segment.
    length: usize,
    /// Words of 64 positions.
    words: usize,
    /// The characters that the segment names, sorted.
    alphabet: Vec<char>,
    /// For each character of the alphabet, and last for every other character, the positions of
    /// the segment that take it.
    masks: Vec<u64>,
}

impl ShiftAnd {
    fn new(segment: &[Token], meter: &Meter<'_>) -> Option<Self> {
        let letters: Vec<Option<char>> = segment
            .iter()
            .flat_map(|token| match token {
                Token::Text(text) => text.chars().map(Some).collect(),
                Token::One | Token::Run => vec![None],
            })
            .collect();
        let words = letters.len().div_ceil(WORD_BITS);
        let mut alphabet: Vec<char> = letters.iter().flatten().copied().collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        if !meter.spend(2 * letters.len() + (alphabet.len() + 1) * words) {
            return None;
        }
        let bit = |at: usize| 1_u64 << (at % WORD_BITS);
        let mut any = vec![0_u64; words];
        for (at, letter) in letters.iter().enumerate() {
            if letter.is_none() {
                any[at / WORD_BITS] |= bit(at);
            }
        }
        let mut masks = any.repeat(alphabet.len() + 1);
        for (at, letter) in letters.iter().enumerate() {
            if let Some(Ok(row)) = letter.map(|letter| alphabet.binary_search(&letter)) {
                masks[row * words + at / WORD_BITS] |= bit(at);
            }
        }
        Some(Self {
            length: letters.len(),
            words,
            alphabet,
            masks,
        })
    }

    /// Where the first occurrence within `text` ends, in bytes.
    fn first_end(&self, text: &str, meter: &Meter<'_>) -> Option<usize> {
        // Bit `i` is set where the last `i + 1` characters match the first `i + 1` of the segment.
        let mut state = vec![0_u64; self.words];
        let last_bit = 1_u64 << ((self.length - 1) % WORD_BITS);
        for (at, character) in text.char_indices() {
            if !meter.spend(1 + self.words) {
                return None;
            }
            let row = self
                .alphabet
                .binary_search(&character)
                .unwrap_or(self.alphabet.len());
            let mask = &self.masks[row * self.words..][..self.words];
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(mask) {
                let shifted = (*word << 1) | carry;
                carry = *word >> (WORD_BITS - 1);
                *word = shifted & mask;
            }
            if state.last().is_some_and(|word| word & last_bit != 0) {
                return Some(at + character.len_utf8());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::EvaluationBudget;

    fn glob(pattern: &str) -> Glob {
        let mut tokens = Vec::new();
        for character in pattern.chars() {
            match (character, tokens.last_mut()) {
                ('*', _) => tokens.push(Token::Run),
                ('?', _) => tokens.push(Token::One),
                (_, Some(Token::Text(text))) => *text = format!("{text}{character}").into(),
                _ => tokens.push(Token::Text(character.to_string().into())),
            }
        }
        Glob::new(tokens)
    }

    /// Whether the pattern matches, and the steps that it took to tell.
    fn run(pattern: &str, text: &str) -> (bool, u64) {
        let budget = EvaluationBudget::default();
        let meter = Meter::new(&budget);
        let matches = glob(pattern).matches(text, &meter);
        assert_eq!(meter.exceeded(), None);
        (matches, meter.spent())
    }

    /// The definition, by recursion over characters.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                oracle(rest, text)
                    || text
                        .split_first()
                        .is_some_and(|(_, text)| oracle(pattern, text))
            }
            (Some(('?', rest)), Some((_, text))) => oracle(rest, text),
            (Some((a, rest)), Some((b, text))) => a == b && oracle(rest, text),
            _ => false,
        }
    }

    #[test]
    fn segments_longer_than_a_word_are_found() {
        let segment = format!("a?{}", "b".repeat(200));
        let pattern = format!("*{segment}*");
        let text = format!("a{}ac{}d", "b".repeat(200), "b".repeat(200));
        assert!(run(&pattern, &text).0);
        assert!(!run(&pattern, &text.replace("acb", "acc")).0);
    }

    /// Patterns that take time in the product of both lengths, or worse, with naive algorithms.
    #[test]
    fn hostile_patterns_take_few_steps() {
        let text = "a".repeat(2_000);
        for pattern in [
            format!("{}b", "*a".repeat(900)),
            format!("*{}b*", "a".repeat(1_900)),
            format!("*b{}*", "a".repeat(1_900)),
            format!("*{}b*", "a?".repeat(900)),
            format!("*{}b*", "aaaaaaaa?".repeat(200)),
            format!("{}b", "*a?a".repeat(450)),
            format!("{}b*", "*?".repeat(900)),
        ] {
            let (matches, steps) = run(&pattern, &text);
            let bound = text.len() * (pattern.len() / 64 + 64);
            assert!(!matches, "{pattern}");
            assert!(steps < bound as u64, "{steps} steps for {pattern}");
        }
    }

    proptest! {
        #[test]
        fn matches_agree_with_the_definition(pattern in "[ab*?é]{0,10}", text in "[abé]{0,12}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = oracle(&characters(&pattern), &characters(&text));
            prop_assert_eq!(run(&pattern, &text).0, expected);
        }

        #[test]
        fn long_segments_agree_with_the_definition(
            start in "[ab?]{60,70}", pattern in "[ab?]{0,4}", text in "[ab]{60,90}"
        ) {
            let pattern = format!("*{start}{pattern}*");
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = oracle(&characters(&pattern), &characters(&text));
            prop_assert_eq!(run(&pattern, &text).0, expected);
        }
    }
}
