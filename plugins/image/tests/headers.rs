//! Whatever a head claims of a picture: it is decoded within the bound on pixels, or refused with a sentence.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use bulkhead_sdk::testing::Exchange;
use bulkhead_sdk::{Blob, Error, Payload, Step};
use image::Image;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

/// Pixels that a picture may have here.
const MOST: u64 = 4096;

/// How many bytes the tensor has, or why there is none.
fn read(data: Vec<u8>, color: &str) -> Result<usize, String> {
    let config = json!({ "width": 8, "height": 8, "color": color, "dtype": "uint8", "max_pixels": MOST });
    let blob = Blob { content_type: "application/octet-stream".to_owned(), data };
    match Exchange::<Image>::open(&config).unwrap().before(Payload::Blob(blob)) {
        Ok(Step::Proceed(payload)) => Ok(payload.into_tensors().unwrap().get("image").unwrap().bytes().len()),
        Ok(Step::Answer(_)) => panic!("answered"),
        Err(Error::Invalid { pointer, message }) if pointer.is_empty() && !message.is_empty() => Err(message),
        Err(other) => panic!("{other}"),
    }
}

/// Decoded to as many bytes as were asked for, or refused.
fn holds(data: Vec<u8>, is_gray: bool) -> Result<(), TestCaseError> {
    let (color, channels) = if is_gray { ("gray", 1) } else { ("rgb", 3) };
    match read(data, color) {
        Ok(bytes) => prop_assert_eq!(bytes, 64 * channels),
        Err(message) => prop_assert!(message.len() > 10, "{}", message),
    }
    Ok(())
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }))
}

fn chunk(name: &[u8; 4], content: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    let at = out.len();
    out.extend(name);
    out.extend(content);
    out.extend(crc(&out[at..]).to_be_bytes());
}

/// A PNG of this head, whose data are nothing.
fn png((width, height): (u32, u32), [depth, color, compression, filter, interlace]: [u8; 5], palette: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[size.as_slice(), &[depth, color, compression, filter, interlace]].concat(), &mut out);
    chunk(b"PLTE", palette, &mut out);
    chunk(b"IDAT", &[0x78, 0x9c, 3, 0, 0, 0, 0, 1], &mut out);
    chunk(b"IEND", &[], &mut out);
    out
}

/// A JPEG of segments, whose lengths are right unless one is said.
fn jpeg(segments: &[(u8, Vec<u8>, Option<u16>)], scan: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    for (marker, content, length) in segments {
        out.extend([0xff, *marker]);
        out.extend(length.unwrap_or(u16::try_from(content.len() + 2).unwrap()).to_be_bytes());
        out.extend(content);
    }
    out.extend(scan);
    out
}

/// Extents around the bound, and any others.
fn extent() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..70, any::<u16>().prop_map(u32::from), any::<u32>()]
}

fn segment() -> impl Strategy<Value = (u8, Vec<u8>, Option<u16>)> {
    // Frames, tables, scans, restarts, applications, comments.
    let marker = prop_oneof![8 => prop::sample::select(vec![0xc0u8, 0xc2, 0xc4, 0xdb, 0xda, 0xdd, 0xe0, 0xe1, 0xee, 0xfe]), 1 => any::<u8>()];
    let frame =
        (0u16..100, 0u16..100, prop::collection::vec((1u8..5, prop::sample::select(vec![0x11u8, 0x21, 0x22, 0x12, 0x41, 0, 0xff]), 0u8..5), 0..5));
    let frame = frame.prop_map(|(width, height, components)| {
        let [height, width] = [height, width].map(u16::to_be_bytes);
        let mut content = vec![8, height[0], height[1], width[0], width[1], components.len() as u8];
        content.extend(components.iter().flat_map(|(id, sampling, steps)| [*id, *sampling, *steps]));
        content
    });
    let table = (0u8..5, prop::collection::vec(any::<u8>(), 64)).prop_map(|(number, steps)| [&[number], steps.as_slice()].concat());
    let content = prop_oneof![2 => frame, 2 => table, 3 => prop::collection::vec(any::<u8>(), 0..90)];
    (marker, content, prop::option::weighted(0.1, any::<u16>()))
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_png_head_is_held_to_the_bound(size in (extent(), extent()), rest in any::<[u8; 5]>(), palette in prop::collection::vec(any::<u8>(), 0..30)) {
        holds(png(size, rest, &palette), true)?;
        holds(png(size, rest, &palette), false)?;
    }

    #[test]
    fn a_sound_png_head_is_refused_by_its_size_alone(size in (1..=0x7fff_ffffu32, 1..=0x7fff_ffffu32)) {
        let message = read(png(size, [8, 0, 0, 0, 0], &[]), "gray").expect_err("data of no pixels");
        let is_large = u64::from(size.0) * u64::from(size.1) > MOST;
        prop_assert_eq!(message == format!("the image has {} x {} pixels, more than {MOST}", size.0, size.1), is_large, "{}", message);
    }

    #[test]
    fn a_jpeg_head_is_held_to_the_bound(segments in prop::collection::vec(segment(), 0..9), scan in prop::collection::vec(any::<u8>(), 0..40), is_gray in any::<bool>()) {
        holds(jpeg(&segments, &scan), is_gray)?;
    }

    #[test]
    fn a_head_that_was_tampered_with_is_too(
        name in prop::sample::select(vec!["rgb.png", "palette4.png", "gray1.png", "photo.jpg", "progressive.jpg", "gray.jpg", "cmyk.jpg"]),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        is_gray in any::<bool>(),
    ) {
        let mut data = fixture(name);
        // Of a JPEG the tables, of a PNG its first chunks.
        let head = data.len().min(640);
        for (at, byte) in changes {
            data[at.index(head)] = byte;
        }
        holds(data, is_gray)?;
    }

    #[test]
    fn no_bytes_break_the_decoders(magic in prop::sample::select(vec![&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b""]), rest in prop::collection::vec(any::<u8>(), 0..300)) {
        holds([magic, rest.as_slice()].concat(), true)?;
    }
}
