//! Pixels against Pillow's; `make_fixtures.py` writes the fixtures.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::fs;
use std::path::PathBuf;

use bulkhead_sdk::testing::Exchange;
use bulkhead_sdk::{Blob, Error, Payload, Step};
use image::Image;
use serde_json::{Value, json};

fn fixture(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", name].iter().collect();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(config: &Value, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    let blob = Blob { content_type: "application/octet-stream".to_owned(), data };
    match Exchange::<Image>::open(config)?.before(Payload::Blob(blob))? {
        Step::Proceed(payload) => Ok(payload.into_tensors()?.get("image")?.bytes().to_vec()),
        Step::Answer(_) => panic!("answered"),
    }
}

fn pixels(data: Vec<u8>, color: &str, filter: &str, (width, height): (usize, usize)) -> Vec<u8> {
    run(&json!({ "width": width, "height": height, "color": color, "filter": filter, "dtype": "uint8", "layout": "nhwc" }), data).unwrap()
}

/// A PNG of pixels that some JPEG was decoded to.
fn wrapped(pixels: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut data = Vec::new();
    let mut encoder = png::Encoder::new(&mut data, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    data
}

#[test]
fn resized_pixels_are_pillows() {
    let (mut expected, mut count) = (fixture("expected.bin"), 0);
    for line in String::from_utf8(fixture("expected.txt")).unwrap().lines() {
        let [name, color, filter, width, height] = *line.split(' ').collect::<Vec<_>>() else { panic!("{line}") };
        let size = (width.parse().unwrap(), height.parse().unwrap());
        let data = if name.ends_with(".rgb") { wrapped(&fixture(name), (90, 70)) } else { fixture(name) };
        let got = pixels(data, color, filter, size);
        let rest = expected.split_off(got.len());
        assert!(got == expected, "{line}: {} of {} differ", got.iter().zip(&expected).filter(|(left, right)| left != right).count(), got.len());
        expected = rest;
        count += 1;
    }
    assert!(expected.is_empty() && count > 50);
}

/// Decoders of JPEG may differ: the standard leaves rounding of the cosine transform and the interpolation of colours
/// open. Each bound is about twice what was measured against libjpeg-turbo.
#[test]
fn decoded_jpegs_are_nearly_pillows() {
    for (name, expected, largest, mean) in [
        ("full-chroma.jpg", "full-chroma.rgb", 4, 0.5),
        // With colours at half the resolution, at edges that are sharper than a photograph's.
        ("photo.jpg", "photo.rgb", 18, 0.8),
        ("progressive.jpg", "photo.rgb", 18, 0.8),
    ] {
        let (got, expected) = (pixels(fixture(name), "rgb", "bilinear", (90, 70)), fixture(expected));
        let differences: Vec<u8> = got.iter().zip(&expected).map(|(left, right)| left.abs_diff(*right)).collect();
        let sum: f64 = differences.iter().map(|difference| f64::from(*difference)).sum();
        let (most, average) = (differences.iter().max().copied().unwrap_or_default(), sum / differences.len() as f64);
        assert!(most <= largest && average <= mean, "{name}: at most {most}, on average {average}");
    }
}

/// The stored brightness against that of the decoded colours, which were rounded once more and cut to what a byte holds.
#[test]
fn grays_of_coloured_jpegs_are_nearly_pillows() {
    for (name, expected, largest, mean) in
        [("full-chroma.jpg", "full-chroma.rgb", 22, 0.2), ("photo.jpg", "photo.rgb", 44, 0.2), ("progressive.jpg", "photo.rgb", 44, 0.2)]
    {
        let got = pixels(fixture(name), "gray", "bilinear", (90, 70));
        let expected = fixture(expected);
        let luma = expected.as_chunks::<3>().0.iter().map(|[red, green, blue]| {
            let [red, green, blue] = [*red, *green, *blue].map(u32::from);
            ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
        });
        let differences: Vec<u8> = got.iter().zip(luma).map(|(left, right)| left.abs_diff(right)).collect();
        let sum: f64 = differences.iter().map(|difference| f64::from(*difference)).sum();
        let (most, average) = (differences.iter().max().copied().unwrap_or_default(), sum / differences.len() as f64);
        assert!(differences.len() == 90 * 70 && most <= largest && average <= mean, "{name}: at most {most}, on average {average}");
    }
}

#[test]
fn gray_jpegs_have_equal_channels() {
    let gray = pixels(fixture("gray.jpg"), "gray", "bilinear", (31, 17));
    let colors = pixels(fixture("gray.jpg"), "rgb", "bilinear", (31, 17));
    assert!(colors.as_chunks::<3>().0.iter().zip(&gray).all(|(pixel, gray)| *pixel == [*gray; 3]));
}

#[test]
fn normalises_in_both_layouts() {
    let size = (28, 28);
    let bytes = pixels(fixture("rgb.png"), "rgb", "bicubic", size);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for layout in ["nchw", "nhwc"] {
        let config = json!({ "width": 28, "height": 28, "filter": "bicubic", "mean": mean, "std": std, "layout": layout });
        let data = run(&config, fixture("rgb.png")).unwrap();
        for (at, value) in data.as_chunks::<4>().0.iter().enumerate() {
            let (pixel, channel) = if layout == "nchw" { (at % 784, at / 784) } else { (at / 3, at % 3) };
            let expected = (f64::from(bytes[pixel * 3 + channel]) / 255.0 - mean[channel]) / std[channel];
            assert!((f64::from(f32::from_le_bytes(*value)) - expected).abs() < 1e-6, "{layout} {at}");
        }
    }
}

#[test]
fn broken_images_are_refused() {
    let config = json!({ "width": 8, "height": 8 });
    for name in ["rgb.png", "interlaced.png", "palette4.png", "photo.jpg", "progressive.jpg", "gray.jpg"] {
        let whole = fixture(name);
        for length in (0..whole.len() - 1).rev().step_by(13) {
            // The end-of-image marker and the checksum of the last chunk may be missing, nothing before.
            if name.ends_with(".png") && length >= whole.len() - 16 {
                continue;
            }
            let error = run(&config, whole[..length].to_vec()).expect_err(&format!("{name} of {length} bytes"));
            assert!(matches!(&error, Error::Invalid { pointer, .. } if pointer.is_empty()), "{error}");
        }
    }
}

#[test]
fn scrambled_images_never_panic() {
    let config = json!({ "width": 8, "height": 8, "max_pixels": 100_000 });
    let mut state = 1_u32;
    for name in ["rgb.png", "interlaced.png", "palette4.png", "photo.jpg", "progressive.jpg", "gray.jpg", "cmyk.jpg"] {
        for _ in 0..300 {
            let mut data = fixture(name);
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % data.len();
                data[at] ^= (state >> 24) as u8;
            }
            let _ = run(&config, data);
        }
    }
}

#[test]
fn a_huge_image_is_refused_by_its_header() {
    // Only signature, header and the start of the data: an attempt to decode would fail in another way.
    let mut data = fixture("rgb.png")[..60].to_vec();
    data[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    data[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
    let checksum = crc(&data[12..29]);
    data[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = run(&json!({ "width": 8, "height": 8 }), data).unwrap_err();
    assert_eq!(error.to_string(), "the image has 20000 x 20000 pixels, more than 16777216");
    let error = run(&json!({ "width": 8, "height": 8, "max_pixels": 6299 }), fixture("photo.jpg")).unwrap_err();
    assert_eq!(error.to_string(), "the image has 90 x 70 pixels, more than 6299");
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }))
}
