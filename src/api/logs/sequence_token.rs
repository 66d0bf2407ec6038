//! The tokens of `PutLogEvents`: each says which number the next event of its stream gets.
//!
//! Amazon ignores them today. Here a sender that repeats a batch with the token of its first
//! attempt does not store events twice; whatever else a token says is ignored.

/// Digits of a token, as AWS has them.
const DIGITS: usize = 56;

/// The token for a stream's next event.
pub(super) fn sequence_token(next_sequence: i64) -> String {
    format!("{next_sequence:0DIGITS$}")
}

/// The number that a token holds, if it is one of this server.
pub(super) fn sequence(token: &str) -> Option<i64> {
    (token.len() == DIGITS).then(|| token.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_its_number() {
        assert_eq!(sequence_token(12).len(), 56);
        assert_eq!(sequence(&sequence_token(12)), Some(12));
        assert_eq!(sequence("12"), None);
        assert_eq!(sequence(&"x".repeat(56)), None);
    }
}
