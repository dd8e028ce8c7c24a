//! JPEGs of slopes, noise and hard edges, so that their blocks are flat, sparse and full.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// The picture of this number: each in another quality and sampling, and some with steps so large that a decoder meets
/// numbers which no picture has.
pub(crate) fn jpeg((width, height): (u16, u16), number: usize) -> Vec<u8> {
    let pixel = |at: usize| {
        let (x, y) = (at % usize::from(width), at / usize::from(width));
        let edge = if (x / (3 + number % 7)).is_multiple_of(2) && (y / 5).is_multiple_of(3) { 190 } else { 0 };
        // A hash of the place, with a common integer hash's constants.
        let hash = (at * 3 + number) as u32;
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
        let noise = if x > usize::from(width) / 2 { (hash ^ (hash >> 12)) as usize % (1 + number * 5) } else { 0 };
        [x * 2 + y + edge + noise, x + y * 3 + noise, edge + x * y / 9].map(|channel| (channel % 256) as u8)
    };
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height)).flat_map(pixel).collect();
    let mut data = Vec::new();
    let mut encoder = Encoder::new(&mut data, 1 + (number * 37 % 100) as u8);
    encoder.set_sampling_factor([SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2, SamplingFactor::F_1_2][number % 4]);
    encoder.encode(&pixels, width, height, ColorType::Rgb).expect("a picture that can be encoded");
    if number % 5 == 4 {
        let table = data.windows(5).position(|bytes| bytes == [0xff, 0xdb, 0, 67, 0]).expect("a table of quantisation") + 5;
        data[table..table + 64].fill(40 + (number * 3) as u8);
    }
    data
}
