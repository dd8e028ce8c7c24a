//! What makes probabilities of scores.
//!
//! In a sandbox `f32::exp` is a function call for each number. What stands here takes several at once, with the vectors
//! that plugins are built for.

/// Numbers that are taken at once.
const LANES: usize = 4;

/// Numbers whose sum is kept in single precision before it joins the rest: few enough to lose nothing that matters.
const BLOCK: usize = 64 * LANES;

/// The greatest of these scores, of those that are numbers; minus infinity where there are none.
#[must_use]
pub fn greatest(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = if *lane < *score { *score } else { *lane };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |greatest, score| greatest.max(*score))
}

/// The sum of `exp(score - greatest)` over all of them, to within some `1e-6` of its value: what softmax divides by. So the
/// probability of the greatest is the inverse of this.
///
/// `greatest` is what [`greatest`] gives: what is above it counts as it does. NaN where one of the scores is, or all are
/// minus infinity; one of minus infinity among others adds nothing.
#[must_use]
pub fn exp_sum(scores: &[f32], greatest: f32) -> f64 {
    let mut sum = 0.0;
    for block in scores.chunks(BLOCK) {
        // One step after the other: in one, the compiler would take the numbers one by one.
        let mut exponentials = [0.0; BLOCK];
        for (into, score) in exponentials.iter_mut().zip(block) {
            *into = exp(*score - greatest);
        }
        let mut lanes = [0.0; LANES];
        for chunk in exponentials.chunks_exact(LANES) {
            for (lane, exponential) in lanes.iter_mut().zip(chunk) {
                *lane += exponential;
            }
        }
        sum += f64::from(lanes.iter().sum::<f32>());
    }
    sum
}

/// Below it the result is less than the smallest normal number: nothing beside the 1 of the greatest score.
const LOWEST: f32 = -87.0;

/// The natural logarithm of 2 as a number of few digits, whose products with small whole numbers are exact, and the rest.
const LN_2: (f32, f32) = (355.0 / 512.0, -2.121_944_4e-4);

/// Of a number that is not above zero; one that is counts as zero. Without branches, so that the compiler takes several at once.
#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from -126 to 0")]
fn exp(x: f32) -> f32 {
    // exp(x) = 2^n * exp(r), with |r| at most half of ln 2.
    let x = if x > 0.0 { 0.0 } else { x };
    let bounded = if x < LOWEST { LOWEST } else { x };
    let n = (bounded * std::f32::consts::LOG2_E).round_ties_even();
    let r = (bounded - n * LN_2.0) - n * LN_2.1;
    // The series, whose next term is below 1e-8.
    let mut power = 1.0 / 5040.0;
    for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * r + term;
    }
    let scale = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if x < LOWEST { 0.0 } else { power * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for at in 0..=870_000_u32 {
            let x = f64::from(at) / -10_000.0;
            let (ours, exact) = (f64::from(exp(x as f32)), f64::from(x as f32).exp());
            assert!((ours / exact - 1.0).abs() < 3e-7, "exp({x}) is {exact}, not {ours}");
        }
        assert_eq!((exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_of_any_length() {
        for length in [1, 3, 4, 255, 256, 1000, 100_003] {
            let scores: Vec<f32> = (0..length).map(|at| (at * 7919 % 1000) as f32 / 50.0).collect();
            let greatest = greatest(&scores);
            assert_eq!(greatest, scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let exact: f64 = scores.iter().map(|score| f64::from(score - greatest).exp()).sum();
            let ours = exp_sum(&scores, greatest);
            assert!((ours / exact - 1.0).abs() < 1e-6, "{length}: {exact}, not {ours}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_lost() {
        for at in 0..9 {
            let mut scores = [1.0; 9];
            scores[at] = f32::NAN;
            assert_eq!(greatest(&scores), 1.0);
            assert!(exp_sum(&scores, 1.0).is_nan());
            scores[at] = f32::NEG_INFINITY;
            assert_eq!(exp_sum(&scores, 1.0), 8.0);
        }
        assert!(exp_sum(&[f32::NEG_INFINITY; 3], f32::NEG_INFINITY).is_nan());
        assert_eq!(exp_sum(&[1e30, 0.0], 0.0), 2.0);
        assert_eq!((greatest(&[]), exp_sum(&[], 0.0)), (f32::NEG_INFINITY, 0.0));
    }
}
