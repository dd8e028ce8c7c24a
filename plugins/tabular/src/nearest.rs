//! The known name that comes nearest to an unknown one.

/// Says what is unknown and what may have been meant.
pub(crate) fn message<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match known.min_by_key(|other| distance(name, other)) {
        Some(nearest) => format!("{what} `{name}`; the nearest is `{nearest}`"),
        None => format!("{what} `{name}`"),
    }
}

/// Levenshtein's, of bytes.
fn distance(left: &str, right: &str) -> usize {
    // Names are short; a long one must not cost time.
    let (left, right) = (clipped(left), clipped(right));
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, byte) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (index, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

/// Arbitrary.
const LONGEST: usize = 64;

fn clipped(name: &str) -> &[u8] {
    &name.as_bytes()[..name.len().min(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::{distance, message};

    #[test]
    fn distances() {
        for (left, right, expected) in [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("age", "agee", 1)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn names_the_nearest() {
        assert_eq!(message("unknown column", "agee", ["name", "age"].into_iter()), "unknown column `agee`; the nearest is `age`");
        assert_eq!(message("unknown column", "x", std::iter::empty()), "unknown column `x`");
    }
}
