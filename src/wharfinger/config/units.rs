//! Sizes and times as people write them: `256MiB`, `90d`.

use std::time::Duration;

/// Why a text is not a size or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("a size is a number with KiB, MiB or GiB, such as 256MiB")]
    Size,
    #[error("a time is a number with s, m, h or d, such as 90d")]
    Time,
}

/// Reads a size; in bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    scaled(text, &units).ok_or(UnitError::Size)
}

/// Reads a time.
pub(crate) fn time(text: &str) -> Result<Duration, UnitError> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    scaled(text, &units)
        .map(Duration::from_secs)
        .ok_or(UnitError::Time)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2d"), Ok(Duration::from_hours(48)));
        for wrong in [
            "",
            "5",
            "MiB",
            "-1MiB",
            "+1MiB",
            "1.5GiB",
            "99999999999GiB",
            "1 MiB",
        ] {
            assert_eq!(size(wrong), Err(UnitError::Size), "{wrong}");
        }
        for wrong in ["", "h", "1w", "one h"] {
            assert_eq!(time(wrong), Err(UnitError::Time), "{wrong}");
        }
    }
}
