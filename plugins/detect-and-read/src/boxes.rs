//! Boxes that the detector found.

use std::cmp::Ordering;

use bulkhead_sdk::prelude::*;

use crate::crop::Picture;

/// A box, in pixels.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) left: f32,
    pub(crate) top: f32,
    pub(crate) right: f32,
    pub(crate) bottom: f32,
    pub(crate) score: f32,
}

/// What the two outputs tell; without boxes of no size, or with what is no number.
pub(crate) fn candidates(boxes: &Tensor, scores: &Tensor) -> Result<Vec<Candidate>> {
    let (corners, points) = (boxes.values::<f32>()?, scores.values::<f32>()?);
    if boxes.shape().last() != Some(&4) || corners.len() != points.len() * 4 {
        let (boxes, scores) = (boxes.shape(), scores.shape());
        return Err(Error::internal(format!("the detector gives boxes {boxes:?} and scores {scores:?}, expected [n, 4] and [n]")));
    }
    let all = corners.chunks_exact(4).zip(points.iter());
    let all = all.map(|(corners, score)| Candidate { left: corners[0], top: corners[1], right: corners[2], bottom: corners[3], score: *score });
    // Nothing of this holds for NaN.
    let is_box = |found: &Candidate| found.area() > 0.0 && found.area() < f32::INFINITY && found.right > found.left && found.score.is_finite();
    Ok(all.filter(is_box).collect())
}

/// The best ones, each of which overlaps none of the others too much.
pub(crate) fn best(mut all: Vec<Candidate>, least: f32, overlap: f32, most: usize) -> Vec<Candidate> {
    all.retain(|candidate| candidate.score >= least);
    all.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in all {
        if kept.len() == most {
            break;
        }
        if kept.iter().all(|better| better.overlap(&candidate) <= overlap) {
            kept.push(candidate);
        }
    }
    kept
}

impl Candidate {
    fn area(&self) -> f32 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Of what two boxes cover together, the share that both do.
    fn overlap(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let both = width.max(0.0) * height.max(0.0);
        both / (self.area() + other.area() - both)
    }

    /// From the top down, and among equals from the left.
    pub(crate) fn in_reading_order(&self, other: &Self) -> Ordering {
        let order = |a: f32, b: f32| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        order(self.top, other.top).then(order(self.left, other.left))
    }

    /// Left, top, right and bottom as shares of the picture.
    pub(crate) fn shares(&self, picture: &Picture<'_>) -> [f32; 4] {
        let (width, height) = (picture.width as f32, picture.height as f32);
        [self.left / width, self.top / height, self.right / width, self.bottom / height]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(left: f32, top: f32, score: f32) -> Candidate {
        Candidate { left, top, right: left + 10.0, bottom: top + 10.0, score }
    }

    #[test]
    fn of_two_that_overlap_the_better_counts() {
        let all = vec![candidate(0.0, 0.0, 0.5), candidate(1.0, 0.0, 0.9), candidate(8.0, 0.0, 0.4), candidate(50.0, 0.0, 0.1)];
        let kept = best(all.clone(), 0.2, 0.5, 64);
        assert_eq!(kept.iter().map(|found| found.score).collect::<Vec<_>>(), [0.9, 0.4]);
        assert_eq!(best(all, 0.0, 0.5, 1).len(), 1);
    }

    #[test]
    fn what_is_no_box_is_left_out() {
        let boxes =
            [[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 1.0, 1.0], [2.0, 2.0, 1.0, 1.0], [f32::NAN, 0.0, 1.0, 1.0], [0.0, 0.0, f32::INFINITY, 1.0]].concat();
        let boxes = Tensor::new("boxes", &[5, 4], &boxes).unwrap();
        let found = candidates(&boxes, &Tensor::new("scores", &[5], &[1.0_f32; 5]).unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        let error = candidates(&boxes, &Tensor::new("scores", &[4], &[1.0_f32; 4]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("expected [n, 4] and [n]"), "{error}");
    }
}
