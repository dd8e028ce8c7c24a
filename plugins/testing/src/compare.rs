//! Equality of JSON values up to a tolerance of numbers.

use serde_json::Value;

/// Where two values differ first; none where they are equal. Integers are compared exactly, other numbers up to
/// `tolerance`, relative to the larger one where that is above 1.
#[must_use]
pub fn difference(got: &Value, expected: &Value, tolerance: f64) -> Option<String> {
    at(&mut String::new(), got, expected, tolerance)
}

fn at(path: &mut String, got: &Value, expected: &Value, tolerance: f64) -> Option<String> {
    match (got, expected) {
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).enumerate().find_map(|(index, (left, right))| below(path, &index.to_string(), left, right, tolerance))
        }
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            left.iter().zip(right.values()).find_map(|((key, left), right)| below(path, key, left, right, tolerance))
        }
        _ if got == expected || close(got, expected, tolerance) => None,
        _ => Some(format!("at `{path}`: expected {expected}, got {got}")),
    }
}

fn below(path: &mut String, key: &str, got: &Value, expected: &Value, tolerance: f64) -> Option<String> {
    let length = path.len();
    path.push('/');
    path.push_str(key);
    let found = at(path, got, expected, tolerance);
    path.truncate(length);
    found
}

fn close(got: &Value, expected: &Value, tolerance: f64) -> bool {
    match (got.as_f64(), expected.as_f64()) {
        (Some(_), Some(_)) if got.is_i64() && expected.is_i64() => false,
        (Some(left), Some(right)) => (left - right).abs() <= tolerance * left.abs().max(right.abs()).max(1.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn numbers_are_compared_up_to_the_tolerance_and_integers_exactly() {
        assert_eq!(difference(&json!({"a": [0.5, 1]}), &json!({"a": [0.500_000_1, 1]}), 1e-6), None);
        assert!(difference(&json!([0.5]), &json!([0.51]), 1e-6).is_some());
        assert!(difference(&json!([9_007_199_254_740_993_i64]), &json!([9_007_199_254_740_992_i64]), 1e-6).is_some());
        assert!(difference(&json!({"a": 1}), &json!({"b": 1}), 1e-6).is_some());
    }
}
