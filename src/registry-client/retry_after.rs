//! `Retry-After`: when a request may be repeated. PURE.
//!
//! Source: RFC 9110, section 10.2.3.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use wharfinger_base::Timestamp;

/// Longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_hours(24);

/// The wait that a value requests: seconds, or a date.
pub(crate) fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTimeParser::new().parse_timestamp(value).ok()?;
            Timestamp::from_ms(date.as_millisecond()).since(now)
        }
    };
    Some(wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood() {
        let now = Timestamp::from_ms(1_445_412_420_000);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999", Some(24 * 3600)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("Wed, 21 Oct 2015 07:26:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(parse(value, now), expected, "{value}");
        }
    }
}
