//! PNG of all colour types and depths, interlaced or not.

use std::io::Cursor;

use png::{ColorType, Decoder, DecodingError, Transformations};

use super::{Refusal, Source, check_size};

pub(super) fn decode(data: &[u8], max_pixels: u64) -> Result<Source, Refusal> {
    let mut decoder = Decoder::new(Cursor::new(data));
    // Compressed themselves, and of no use here.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(refusal)?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width, height, max_pixels)?;
    let mut reader = decoder.read_info().map_err(refusal)?;
    let size = reader.output_buffer_size().ok_or(Refusal::TooLarge { width, height })?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(refusal)?;
    let bytes_per_pixel = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => {
            drop_alpha(&mut pixels);
            1
        }
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err(Refusal::Broken("its palette could not be applied".to_owned())),
    };
    Ok(Source { width, height, bytes_per_pixel, pixels })
}

fn drop_alpha(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 2;
    for at in 0..count {
        pixels[at] = pixels[at * 2];
    }
    pixels.truncate(count);
}

fn refusal(error: DecodingError) -> Refusal {
    Refusal::Broken(match error {
        DecodingError::IoError(_) => "it ends too early".to_owned(),
        error => error.to_string(),
    })
}
