//! Fields of the host's answers as text. A host of another version may leave some out: then they read `-`.

use serde_json::Value;

/// What is not there.
const NONE: &str = "-";

/// A field: text as it is, a list as its items, anything else as JSON.
pub(super) fn text(item: &Value, field: &str) -> String {
    match item.get(field) {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::Array(items)) if items.is_empty() => NONE.to_owned(),
        Some(Value::String(text)) if text.is_empty() => NONE.to_owned(),
        Some(Value::Array(items)) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(value) => plain(value),
    }
}

/// How many: a number, or the length of a list.
pub(super) fn count(item: &Value, field: &str) -> String {
    match item.get(field) {
        Some(Value::Array(items)) => items.len().to_string(),
        _ => text(item, field),
    }
}

/// A size in bytes.
pub(super) fn size(item: &Value, field: &str) -> String {
    item.get(field).and_then(Value::as_u64).map_or(NONE.to_owned(), bytes)
}

/// A digest, as much of it as tells two apart.
pub(super) fn digest(item: &Value, field: &str) -> String {
    let digest = text(item, field);
    let digest = digest.rsplit(':').next().unwrap_or_default();
    digest.chars().take(12).collect()
}

/// A time in milliseconds since 1970, to the second in UTC.
pub(super) fn time(item: &Value, field: &str) -> String {
    match item.get(field).and_then(Value::as_i64) {
        Some(ms) => utc(ms.div_euclid(1000)),
        None => text(item, field),
    }
}

/// A number of bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Days to a civil date as in Howard Hinnant's `civil_from_days`: too little arithmetic for a dependency.
fn utc(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_fields_are_no_failure() {
        let item = json!({"a": null, "b": [], "c": ["x", 1], "d": {"k": 1}, "e": "text", "g": ""});
        for (field, expected) in [("a", "-"), ("g", "-"), ("b", "-"), ("c", "x, 1"), ("d", "{\"k\":1}"), ("e", "text"), ("f", "-")] {
            assert_eq!(text(&item, field), expected, "{field}");
        }
        assert_eq!((count(&item, "c"), count(&item, "f")), ("2".to_owned(), "-".to_owned()));
        assert_eq!((size(&item, "f"), time(&item, "f"), digest(&item, "f")), ("-".to_owned(), "-".to_owned(), "-".to_owned()));
    }

    #[test]
    fn sizes_times_and_digests_are_short() {
        let item = json!({"size": 2048, "at": 1_709_209_845_123_u64, "digest": "sha256:0123456789abcdef"});
        assert_eq!(size(&item, "size"), "2.00 KiB");
        assert_eq!(time(&item, "at"), "2024-02-29 12:30:45Z");
        assert_eq!(digest(&item, "digest"), "0123456789ab");
        assert_eq!((utc(0), utc(-1)), ("1970-01-01 00:00:00Z".to_owned(), "1969-12-31 23:59:59Z".to_owned()));
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00Z");
    }
}
