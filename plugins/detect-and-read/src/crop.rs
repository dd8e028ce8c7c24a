//! Parts of a picture, each brought to the reader's size.

use std::borrow::Cow;

use bulkhead_sdk::prelude::*;

use crate::boxes::Candidate;

/// The detector's picture: channels of rows of pixels.
pub(crate) struct Picture<'t> {
    pub(crate) channels: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pixels: Cow<'t, [f32]>,
}

impl<'t> Picture<'t> {
    pub(crate) fn of(tensor: &'t Tensor) -> Result<Self> {
        let extent = |extent: i64| usize::try_from(extent).unwrap_or(0);
        match *tensor.shape() {
            [1, channels, height, width] if channels > 0 && height > 0 && width > 0 => {
                Ok(Self { channels: extent(channels), width: extent(width), height: extent(height), pixels: tensor.values()? })
            }
            ref shape => Err(Error::invalid("", format!("expected one picture `{}` [1, channels, height, width], got {shape:?}", tensor.name()))),
        }
    }
}

/// Two pixels next to each other, and how much the second counts.
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

impl Between {
    /// Where `count` pixels of a cut-out lie in a row of `len` pixels. Beyond the edge lies the edge.
    fn all(from: f32, to: f32, count: usize, len: usize) -> Vec<Self> {
        let step = (to - from) / count as f32;
        (0..count)
            .map(|at| {
                let place = (from + (at as f32 + 0.5) * step - 0.5).clamp(0.0, (len - 1) as f32);
                let first = place as usize;
                Self { first, second: (first + 1).min(len - 1), share: place - first as f32 }
            })
            .collect()
    }
}

/// All of them as one tensor `[n, channels, height, width]`, bilinear.
pub(crate) fn all(picture: &Picture<'_>, boxes: &[Candidate], name: &str, (width, height): (usize, usize)) -> Result<Tensor> {
    let mut pixels = Vec::with_capacity(boxes.len() * picture.channels * width * height);
    for place in boxes {
        let columns = Between::all(place.left, place.right, width, picture.width);
        let rows = Between::all(place.top, place.bottom, height, picture.height);
        for channel in picture.pixels.chunks_exact(picture.width * picture.height) {
            for row in &rows {
                let upper = &channel[row.first * picture.width..][..picture.width];
                let lower = &channel[row.second * picture.width..][..picture.width];
                for column in &columns {
                    let between = |line: &[f32]| line[column.first] + (line[column.second] - line[column.first]) * column.share;
                    let (upper, lower) = (between(upper), between(lower));
                    pixels.push(upper + (lower - upper) * row.share);
                }
            }
        }
    }
    let extent = |extent: usize| i64::try_from(extent).unwrap_or(i64::MAX);
    Tensor::new(name, &[extent(boxes.len()), extent(picture.channels), extent(height), extent(width)], &pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Tensor {
        // The pixel at x, y is 10 y + x.
        let pixels: Vec<f32> = (0..4).flat_map(|y| (0..4).map(move |x| (10 * y + x) as f32)).collect();
        Tensor::new("image", &[1, 1, 4, 4], &pixels).unwrap()
    }

    fn cut([left, top, right, bottom]: [f32; 4], size: (usize, usize)) -> Vec<f32> {
        let tensor = picture();
        let place = Candidate { left, top, right, bottom, score: 1.0 };
        all(&Picture::of(&tensor).unwrap(), &[place], "image", size).unwrap().values::<f32>().unwrap().to_vec()
    }

    #[test]
    fn whole_pixels_stay_what_they_are() {
        assert_eq!(cut([1.0, 1.0, 3.0, 3.0], (2, 2)), [11.0, 12.0, 21.0, 22.0]);
        assert_eq!(cut([0.0, 0.0, 4.0, 4.0], (2, 2)), [5.5, 7.5, 25.5, 27.5], "a mean of four");
    }

    #[test]
    fn beyond_the_edge_lies_the_edge() {
        assert_eq!(cut([-2.0, -2.0, 2.0, 2.0], (4, 4))[..4], [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(cut([1e30, 1e30, 2e30, 2e30], (1, 1)), [33.0]);
    }

    #[test]
    fn one_picture_at_a_time() {
        let two = Tensor::new("image", &[2, 1, 1, 1], &[0.0_f32; 2]).unwrap();
        assert!(matches!(Picture::of(&two), Err(Error::Invalid { .. })));
    }
}
