//! A JPEG of 640 by 480 pixels, drawn: soft gradients, noise of several sizes and hard edges, so that it takes about as
//! many bytes, and a decoder about as long, as a photograph.

use anyhow::Result;
use jpeg_encoder::{ColorType, Encoder};

const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;

/// What cameras and image tools commonly write.
const QUALITY: u8 = 85;

/// Sizes of the noise in pixels, and how strong each is: finer is weaker, as in nature.
const NOISE: [(f32, f32); 5] = [(128.0, 48.0), (48.0, 28.0), (16.0, 20.0), (5.0, 18.0), (2.0, 16.0)];

/// The encoded picture; always the same bytes.
pub(crate) fn jpeg() -> Result<Vec<u8>> {
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            pixels.extend(pixel(f32::from(x), f32::from(y)));
        }
    }
    let mut out = Vec::new();
    Encoder::new(&mut out, QUALITY).encode(&pixels, WIDTH, HEIGHT, ColorType::Rgb)?;
    Ok(out)
}

fn pixel(x: f32, y: f32) -> [u8; 3] {
    let (across, down) = (x / f32::from(WIDTH), y / f32::from(HEIGHT));
    let texture: f32 = NOISE.iter().enumerate().map(|(layer, (size, strength))| (noise(layer as u32, x / size, y / size) - 0.5) * strength).sum();
    let mut color = [60.0 + 120.0 * down, 90.0 + 80.0 * (1.0 - down) + 30.0 * across, 170.0 - 110.0 * down];
    // A disc, a bar and a slanted edge.
    if (x - 430.0).hypot(y - 160.0) < 90.0 {
        color = [225.0 - 60.0 * down, 180.0, 70.0];
    } else if (80.0..150.0).contains(&x) && y > 140.0 {
        color = [70.0, 55.0 + 40.0 * across, 45.0];
    } else if y > 330.0 + 0.25 * x {
        color = [50.0, 95.0, 40.0];
    }
    color.map(|channel: f32| (channel + texture).clamp(0.0, 255.0) as u8)
}

/// Smooth noise between 0 and 1: random values at whole coordinates, blended in between.
fn noise(layer: u32, x: f32, y: f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |fraction: f32| fraction * fraction * (3.0 - 2.0 * fraction);
    let (across, down) = (smooth(x - left), smooth(y - top));
    let value = |dx: u32, dy: u32| random(layer, left as u32 + dx, top as u32 + dy);
    let upper = value(0, 0) + (value(1, 0) - value(0, 0)) * across;
    let lower = value(0, 1) + (value(1, 1) - value(0, 1)) * across;
    upper + (lower - upper) * down
}

/// A hash of the place; the constants are those of common integer hashes.
fn random(layer: u32, x: u32, y: u32) -> f32 {
    let mut hash = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ layer.wrapping_mul(0xc2b2_ae3d);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    hash = (hash ^ (hash >> 12)).wrapping_mul(0x297a_2d39);
    (hash >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_picture_is_as_heavy_as_a_photograph() {
        let jpeg = super::jpeg().unwrap();
        assert!((40_000..160_000).contains(&jpeg.len()), "{} bytes", jpeg.len());
    }
}
