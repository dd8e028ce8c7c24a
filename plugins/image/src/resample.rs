//! Resizing to the pixel as Pillow does it: first along the rows, rounded to 8 bits, then along the columns.

use crate::config::Filter;
use crate::decode::Source;
use crate::dots::Dots;
use crate::taps::{PRECISION, Taps};
use crate::vectors::{self, Quad};

/// Half of the last bit that stays, for rounding.
const HALF: i32 = 1 << (PRECISION - 1);

/// What the image becomes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) gray: bool,
    pub(crate) filter: Filter,
}

impl Target {
    /// Of the rows that come out: a gray image is not blown up to three equal channels.
    pub(crate) fn channels(&self, source: &Source) -> usize {
        if self.gray || source.bytes_per_pixel == 1 { 1 } else { 3 }
    }
}

/// Gives the rows of the resized image, from the top, each of the target's channels interleaved.
pub(crate) fn resample(source: &Source, target: Target, mut emit: impl FnMut(usize, &[u8])) {
    let length = target.width * target.channels(source);
    let vertical = (source.height != target.height).then(|| Taps::new(source.height, target.height, target.filter));
    // Only rows that count are resized.
    let (first, end) = vertical.as_ref().map_or((0, source.height), Taps::range);
    let mut narrow = Narrow::new(source, target);
    let Some(vertical) = vertical else {
        let mut row = vec![0; length];
        (first..end).for_each(|y| {
            narrow.row(y, &mut row);
            emit(y, &row);
        });
        return;
    };
    let mut rows = vec![0; length * (end - first)];
    for (y, row) in rows.chunks_exact_mut(length).enumerate() {
        narrow.row(first + y, row);
    }
    let mut out = vec![0; length];
    for (y, (start, weights)) in vertical.iter().enumerate() {
        shrink_columns(&rows[(start - first) * length..][..weights.len() * length], weights, &mut out);
        emit(y, &out);
    }
}

/// So many columns that their sums fit the vector registers.
const BLOCK: usize = 16;

/// One row of several, each with its weight.
fn shrink_columns(rows: &[u8], weights: &[i32], out: &mut [u8]) {
    let length = out.len();
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let tail = blocks.len() * BLOCK;
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; BLOCK];
        for (row, weight) in rows.chunks_exact(length).zip(weights) {
            let Some(pixels) = row[index * BLOCK..].first_chunk::<BLOCK>() else { continue };
            for (sum, pixel) in sums.iter_mut().zip(pixels) {
                *sum += i32::from(*pixel) * weight;
            }
        }
        *block = sums.map(rounded);
    }
    for (column, out) in rest.iter_mut().enumerate() {
        let column = rows.iter().skip(tail + column).step_by(length);
        *out = rounded(column.zip(weights).fold(HALF, |sum, (pixel, weight)| sum + i32::from(*pixel) * weight));
    }
}

/// Rows in the target's colours and of its width.
struct Narrow<'s> {
    source: &'s Source,
    gray: bool,
    taps: Option<Taps>,
    /// For grays; none where a row is too short for it.
    dots: Option<Dots>,
    /// A row of grays.
    grays: Vec<u8>,
}

impl<'s> Narrow<'s> {
    fn new(source: &'s Source, target: Target) -> Self {
        let taps = (source.width != target.width).then(|| Taps::new(source.width, target.width, target.filter));
        // Elsewhere the compiler makes more of the plain loop.
        let usable = taps.as_ref().filter(|_| vectors::ARE_THERE && target.channels(source) == 1);
        let dots = usable.and_then(|taps| Dots::new(taps, source.width));
        Self { source, gray: target.gray, taps, dots, grays: vec![0; source.width] }
    }

    fn row(&mut self, y: usize, out: &mut [u8]) {
        let size = self.source.bytes_per_pixel;
        let length = self.source.width * size;
        let row = &self.source.pixels[y * length..(y + 1) * length];
        match (size, self.gray) {
            (1, _) => self.shrink_grays(row, out),
            (3, false) => shrink_colors::<3>(self.taps.as_ref(), row, out),
            (_, false) => shrink_colors::<4>(self.taps.as_ref(), row, out),
            (_, true) => {
                if size == 3 {
                    to_grays::<3>(row, &mut self.grays)
                } else {
                    to_grays::<4>(row, &mut self.grays)
                }
                self.shrink_grays(&self.grays, out);
            }
        }
    }

    fn shrink_grays(&self, row: &[u8], out: &mut [u8]) {
        match (&self.dots, &self.taps) {
            (Some(dots), _) => {
                for (out, sum) in out.iter_mut().zip(dots.sums(row)) {
                    *out = rounded(sum + HALF);
                }
            }
            (None, Some(taps)) => {
                for (out, (start, weights)) in out.iter_mut().zip(taps.iter()) {
                    let sum: i32 = row[start..start + weights.len()].iter().zip(weights).map(|(pixel, weight)| i32::from(*pixel) * weight).sum();
                    *out = rounded(sum + HALF);
                }
            }
            (None, None) => out.copy_from_slice(row),
        }
    }
}

/// ITU-R 601-2 luma, in Pillow's integers.
fn to_grays<const SIZE: usize>(row: &[u8], out: &mut [u8]) {
    for (gray, pixel) in out.iter_mut().zip(row.as_chunks::<SIZE>().0) {
        let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        *gray = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8;
    }
}

fn shrink_colors<const SIZE: usize>(taps: Option<&Taps>, row: &[u8], out: &mut [u8]) {
    let pixels = row.as_chunks::<SIZE>().0;
    let out = out.as_chunks_mut::<3>().0;
    let Some(taps) = taps else {
        for (out, pixel) in out.iter_mut().zip(pixels) {
            out.copy_from_slice(&pixel[..3]);
        }
        return;
    };
    for (out, (start, weights)) in out.iter_mut().zip(taps.iter()) {
        // Four lanes by name: left to itself the compiler drops the one that three channels leave unused, and then loads bytes
        // one by one.
        let mut sums = Quad::splat(HALF);
        for (pixel, weight) in pixels[start..start + weights.len()].iter().zip(weights) {
            let pixel = [pixel[0], pixel[1], pixel[2], if SIZE == 4 { pixel[3] } else { 0 }];
            sums = sums + Quad::of_bytes(pixel).times(*weight);
        }
        out.copy_from_slice(&(sums >> PRECISION).bytes()[..3]);
    }
}

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
