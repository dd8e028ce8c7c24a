//! Lengths of time as people write them.

use std::time::Duration;

/// A whole number and a unit: `s`, `m`, `h` or `d`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a whole number and a unit, such as `90s`, `30m`, `8h` or `7d`, got `{text}`");
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let count: u32 = digits.parse().ok().filter(|count| *count > 0).ok_or_else(expected)?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_hours_and_days() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("8h"), Ok(Duration::from_secs(8 * 3600)));
        assert_eq!(parse("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in ["", "h", "1", "0s", "-1s", "1.5h", "1 h", "5é", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
