//! JPEG, baseline or progressive, gray or in colours.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Refusal, Source, check_size, luma};
use crate::vectors;

/// What the decoder is asked for: four bytes are written faster than three.
const COLORS: (ColorSpace, usize) = (ColorSpace::RGBA, 4);

pub(super) fn decode(data: &[u8], max_pixels: u64, gray: bool) -> Result<Source, Refusal> {
    // Natively the library has vector instructions of its own, for who switches them on.
    if gray
        && vectors::ARE_THERE
        && let Some(source) = luma::decode(data, max_pixels)
    {
        return Ok(source);
    }
    by_library(data, max_pixels, gray)
}

/// Any JPEG that can be decoded, and what is wrong with the others.
pub(super) fn by_library(data: &[u8], max_pixels: u64, gray: bool) -> Result<Source, Refusal> {
    // Its own limits are lower than the format's: `max_pixels` is the limit here.
    let extent = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_max_width(extent).set_max_height(extent).jpeg_set_out_colorspace(COLORS.0);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(refusal)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(width, height, max_pixels)?;
    let (out, bytes_per_pixel) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        // Stored as brightness and two differences: the first is the gray, and the others need no decoding.
        Some(ColorSpace::YCbCr) if gray => (ColorSpace::Luma, 1),
        Some(ColorSpace::YCbCr) => COLORS,
        Some(ColorSpace::RGB) => (ColorSpace::RGB, 3),
        _ => return Err(Refusal::Broken("its colours are not gray, YCbCr or RGB; convert it to RGB".to_owned())),
    };
    // Only from here on: decoders agree to skip garbage between headers, but what is cut off must not become gray pixels.
    decoder.set_options(options.jpeg_set_out_colorspace(out).set_strict_mode(true));
    if !has_end(data) {
        return Err(Refusal::Broken("it ends too early".to_owned()));
    }
    let mut pixels = vec![0; width * height * bytes_per_pixel];
    decoder.decode_into(&mut pixels).map_err(refusal)?;
    Ok(Source { width, height, bytes_per_pixel, pixels })
}

/// Whether there is an end-of-image marker: the decoder does not miss it where all but the last rows are there.
fn has_end(data: &[u8]) -> bool {
    data.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}

fn refusal(error: DecodeErrors) -> Refusal {
    Refusal::Broken(match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => "it ends too early".to_owned(),
        DecodeErrors::FormatStatic("Premature end of buffer") => "it ends too early".to_owned(),
        DecodeErrors::ZeroError => "it has no pixels".to_owned(),
        error => error.to_string(),
    })
}
