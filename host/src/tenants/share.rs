//! Whose the last of something bounded is.

use super::Tenant;

/// Of all, so much is kept for who has less than its share: one part in four.
const KEPT: usize = 4;

/// Whether who has `mine` of a `total` of which so much is taken now has more than it may: it takes of the last quarter, and
/// has more than its share by its weight. However light it is, that is one. `weights` is asked only where it runs short.
pub(crate) fn exceeds_share(mine: usize, (taken, total): (usize, usize), weight: u32, weights: impl FnOnce() -> u64) -> bool {
    if taken <= total - total / KEPT {
        return false;
    }
    let share = total as u128 * u128::from(weight) / u128::from(weights().max(1));
    mine as u128 > share.max(1)
}

/// The weights among which is divided: of all who have some, and one more where there is somebody who has none, for when that
/// one comes.
pub(crate) fn weights<'t>(all: impl Iterator<Item = (bool, &'t Tenant)>) -> u64 {
    let (mut sum, mut others) = (0, false);
    for (has_some, tenant) in all {
        if has_some { sum += u64::from(tenant.weight()) } else { others |= !tenant.is_disabled() }
    }
    sum + if others { u64::from(Tenant::WEIGHT) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_bounded_before_the_last_quarter_and_all_by_their_weight_then() {
        assert!(!exceeds_share(75, (75, 100), 1, || unreachable!("there is plenty")));
        assert!(exceeds_share(75, (76, 100), 1, || 2));
        assert!(exceeds_share(51, (76, 100), 1, || 2) && !exceeds_share(50, (76, 100), 1, || 2));
        assert!(!exceeds_share(90, (100, 100), 900, || 1000) && exceeds_share(91, (100, 100), 900, || 1000));
        assert!(!exceeds_share(1, (100, 100), 1, || 1_000_000));
        assert!(!exceeds_share(usize::MAX, (usize::MAX, usize::MAX), u32::MAX, || u64::from(u32::MAX)));
    }
}
