//! The brightness of a baseline JPEG, alone and fast: what a gray picture is made of.
//!
//! The library that decodes all other JPEGs has vector instructions for other processors, and none for WebAssembly: there
//! it takes nearly twice as long as natively. This decodes the commonest kind of file only, and gives up without an error
//! wherever a file is of another kind or broken: then the library decodes it, or says what is wrong. Where it does not
//! give up, its pixels are those of the library to the bit.

mod bits;
mod cosine;
mod header;
mod huffman;

use super::{Source, check_size};
use bits::Bits;
use header::Frame;
use huffman::{AcTable, DcTable};

/// The coefficients of a block, row by row, multiplied by their quantisation steps.
type Block = [i16; 64];

/// None where the library has to look at it: another kind of JPEG, a broken one, or one of more than `max_pixels`.
pub(super) fn decode(data: &[u8], max_pixels: u64) -> Option<Source> {
    let frame = header::read(data)?;
    let (width, height) = (frame.width, frame.height);
    check_size(width, height, max_pixels).ok()?;
    // Of whole blocks, until the end.
    let stride = frame.units_across * frame.across * 8;
    let mut plane = vec![0; stride * frame.units_down * frame.down * 8];
    scan(&frame, stride / 8, plane.as_chunks_mut().0)?;
    if stride != width {
        for y in 1..height {
            plane.copy_within(y * stride..y * stride + width, y * width);
        }
    }
    plane.truncate(width * height);
    Some(Source { width, height, bytes_per_pixel: 1, pixels: plane })
}

/// Decodes all units: each has its blocks of brightness first, `down` rows of `across`, and then one of each colour, which
/// is skipped. `plane` is pieces of eight pixels, `stride` of them in a row.
fn scan(frame: &Frame<'_>, stride: usize, plane: &mut [[u8; 8]]) -> Option<()> {
    let (entropy, length) = bits::without_stuffing(frame.entropy)?;
    let mut bits = Bits::new(&entropy, length);
    let luma = &frame.luma;
    let (mut block, mut pixels) = ([0; 64], [[0; 8]; 8]);
    let (plan, mut prediction) = (plan(&frame.steps), 0);
    for unit_row in 0..frame.units_down {
        if bits.ran_out() {
            return None;
        }
        for unit in 0..frame.units_across {
            for y in 0..frame.down {
                for x in 0..frame.across {
                    let is_flat = decode_block(&mut bits, &luma.dc, &luma.ac, &plan, &mut prediction, &mut block)?;
                    let start = (unit_row * frame.down + y) * 8 * stride + unit * frame.across + x;
                    cosine::inverse(&mut block, is_flat, &mut pixels)?;
                    for (row, pixels) in pixels.iter().enumerate() {
                        *plane.get_mut(start + row * stride)? = *pixels;
                    }
                }
            }
            for color in &frame.colors {
                skip_block(&mut bits, &color.dc, &color.ac)?;
            }
        }
    }
    bits.is_used_up().then_some(())
}

/// Row by row, the place of each coefficient in the order in which they come.
const ORDER: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43,
    36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Where a coefficient belongs, and its step of quantisation.
#[derive(Clone, Copy)]
struct Plan {
    place: u8,
    step: u8,
}

/// For each coefficient in the order in which they come; and for those that a broken run puts up to 15 behind the last,
/// so that only the block's end is checked.
fn plan(steps: &[u8; 64]) -> [Plan; 80] {
    std::array::from_fn(|at| match (ORDER.get(at), steps.get(at)) {
        (Some(&place), Some(&step)) => Plan { place, step },
        _ => Plan { place: 0, step: 0 },
    })
}

/// Whether the block is flat: of one gray. It was all zeros before. None also where a coefficient takes more than 16 bits,
/// as those of no picture do.
#[inline(never)]
fn decode_block(all: &mut Bits<'_>, dc: &DcTable, ac: &AcTable, plan: &[Plan; 80], prediction: &mut i32, block: &mut Block) -> Option<bool> {
    let mut bits = *all;
    bits.fill();
    *prediction = prediction.wrapping_add(dc.difference(&mut bits)?);
    let first = prediction.wrapping_mul(i32::from(plan[0].step));
    block[0] = first as i16;
    // The bits of all coefficients, or of their complements where they are negative.
    let mut wide = first ^ first >> 31;
    let mut at = 1;
    let mut is_flat = true;
    while at < 64 {
        bits.fill();
        let found = ac.next(&mut bits)?;
        at += found.run();
        let number = match (found.number(), found.size()) {
            (Some(number), _) => number,
            (None, 0) if found.is_end() => break,
            // Sixteen zeros.
            (None, 0) => {
                at += 1;
                continue;
            }
            (None, size) => bits.number(size),
        };
        let Plan { place, step } = plan[at];
        let coefficient = number * i32::from(step);
        wide |= coefficient ^ coefficient >> 31;
        block[usize::from(place & 63)] = coefficient as i16;
        is_flat = false;
        at += 1;
    }
    *all = bits;
    (at <= 64 && wide <= i32::from(i16::MAX)).then_some(is_flat)
}

#[inline(never)]
fn skip_block(all: &mut Bits<'_>, dc: &DcTable, ac: &AcTable) -> Option<()> {
    let mut bits = *all;
    bits.fill();
    dc.difference(&mut bits)?;
    let mut at = 1;
    while at < 64 {
        bits.fill();
        let found = ac.next(&mut bits)?;
        if found.is_end() {
            break;
        }
        bits.take(found.size());
        at += found.run() + 1;
    }
    *all = bits;
    (at <= 64).then_some(())
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::super::jpeg;
    use super::*;

    /// Numbers as good as random, the same each time: an xorshift generator with its author's constants.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    /// Of slopes, noise and hard edges, so that blocks are flat, sparse and full.
    fn picture(random: &mut Random, width: usize, height: usize) -> Vec<u8> {
        let (noise, edge) = (1 + random.below(250), 1 + random.below(40));
        let pixel = |at: usize| {
            let (x, y) = (at % width, at / width);
            let slope = x * 2 + y * 3;
            let edge = if x / edge % 2 == 0 && y / edge % 3 == 0 { 200 } else { 0 };
            let channel = |by: usize, random: &mut Random| ((slope / by + edge + if x > width / 2 { random.below(noise) } else { 0 }) % 256) as u8;
            [channel(1, random), channel(2, random), channel(3, random)]
        };
        (0..width * height).flat_map(pixel).collect()
    }

    const SAMPLINGS: [SamplingFactor; 3] = [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2];

    fn encode(random: &mut Random, change: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
        let (width, height) = (1 + random.below(70), 1 + random.below(70));
        let pixels = picture(random, width, height);
        let mut data = Vec::new();
        let mut encoder = Encoder::new(&mut data, 1 + random.below(100) as u8);
        encoder.set_sampling_factor(SAMPLINGS[random.below(3)]);
        change(&mut encoder);
        encoder.encode(&pixels, width as u16, height as u16, ColorType::Rgb).unwrap();
        data
    }

    /// Whether it was decoded here; then it is what the library makes of it.
    fn agrees(data: &[u8]) -> bool {
        let Some(luma) = decode(data, 10_000) else { return false };
        let Ok(source) = jpeg::by_library(data, 10_000, true) else { panic!("the library refuses it") };
        assert_eq!((luma.width, luma.height), (source.width, source.height));
        assert!(luma.pixels == source.pixels, "{} by {}: other pixels", luma.width, luma.height);
        true
    }

    #[test]
    fn pixels_are_the_librarys() {
        let mut random = Random(7);
        for count in 0..400 {
            assert!(agrees(&encode(&mut random, |_| {})), "picture {count} was not decoded");
        }
        // Has tables of codes of its own, and goes through a sandbox, too.
        assert!(agrees(include_bytes!("../../cases/gray-of-colours/request.bin")));
    }

    #[test]
    fn other_kinds_are_left_to_the_library() {
        let mut random = Random(8);
        for _ in 0..20 {
            assert!(!agrees(&encode(&mut random, |encoder| encoder.set_progressive(true))));
            assert!(!agrees(&encode(&mut random, |encoder| encoder.set_restart_interval(2))));
            assert!(!agrees(&encode(&mut random, |encoder| encoder.set_sampling_factor(SamplingFactor::F_1_2))));
            // This encoder then writes a scan for each component.
            assert!(!agrees(&encode(&mut random, |encoder| encoder.set_optimized_huffman_tables(true))));
        }
        let gray = |encoder: Encoder<&mut Vec<u8>>| encoder.encode(&[77; 64 * 64], 64, 64, ColorType::Luma).unwrap();
        let mut data = Vec::new();
        gray(Encoder::new(&mut data, 90));
        assert!(!agrees(&data));
        let usual = encode(&mut random, |_| {});
        assert!(agrees(&usual));
        assert!(decode(&usual, 0).is_none(), "larger than is allowed");
        // The library refuses a table of impossible codes even where nothing uses it, and an unfinished extension of XMP.
        let with = |segment: &[u8]| [&usual[..2], segment, &usual[2..]].concat();
        let codes = [&[0xff, 0xc4, 0, 22, 0x03, 3][..], &[0; 15], &[1, 2, 3]].concat();
        assert!(!agrees(&with(&codes)));
        let extension = [&[0xff, 0xe1, 0, 47][..], b"http://ns.adobe.com/xmp/extension/\0", &[b'a'; 10]].concat();
        assert!(!agrees(&with(&extension)));
        assert!(agrees(&with(&[0xff, 0xe1, 0, 4, b'h', b'i'])));
    }

    #[test]
    fn coefficients_that_no_picture_has_are_left_to_the_library() {
        let mut random = Random(10);
        let (mut decoded, mut left) = (0, 0);
        for _ in 0..200 {
            let mut data = encode(&mut random, |_| {});
            // The brightness's steps, as large as they get; see the format's B.2.4.1.
            let steps = data.windows(5).position(|bytes| bytes == [0xff, 0xdb, 0, 67, 0]).unwrap() + 5;
            data[steps..steps + 64].fill(60 + random.below(196) as u8);
            if agrees(&data) { decoded += 1 } else { left += 1 }
        }
        assert!(decoded > 20 && left > 20, "{decoded} decoded, {left} left");
    }

    #[test]
    fn what_is_broken_is_left_to_the_library() {
        let mut random = Random(9);
        let mut decoded = 0;
        for _ in 0..4000 {
            let mut data = encode(&mut random, |_| {});
            match random.below(3) {
                0 => data.truncate(random.below(data.len())),
                1 => drop(data.remove(random.below(data.len()))),
                _ => {
                    for _ in 0..1 + random.below(4) {
                        let at = random.below(data.len());
                        data[at] = random.below(256) as u8;
                    }
                }
            }
            decoded += usize::from(agrees(&data));
        }
        // A changed coefficient is still an image.
        assert!((100..3000).contains(&decoded), "{decoded}");
    }
}
