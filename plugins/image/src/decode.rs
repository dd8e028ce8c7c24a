//! From an encoded image to its pixels.

mod jpeg;
mod luma;
mod png;

/// An image's pixels, row by row.
pub(crate) struct Source {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 1 of gray, 3 of red, green and blue, or 4 with one more that is of no interest.
    pub(crate) bytes_per_pixel: usize,
    pub(crate) pixels: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    Jpeg,
}

impl Format {
    /// By the first bytes: what the request says may be wrong, and a decoder must not be chosen by it.
    fn of(data: &[u8]) -> Option<Self> {
        match data {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
        }
    }
}

/// Decodes an image of at most `max_pixels`; where only its grays are wanted, it may give them alone.
pub(crate) fn decode(data: &[u8], declared: Option<Format>, max_pixels: u64, gray: bool) -> Result<Source, String> {
    let Some(format) = Format::of(data) else { return Err("the content is neither PNG nor JPEG".to_owned()) };
    if let Some(declared) = declared
        && declared != format
    {
        return Err(format!("the request says {}, but the content is {}", declared.name(), format.name()));
    }
    let name = format.name();
    match format {
        Format::Png => png::decode(data, max_pixels),
        Format::Jpeg => jpeg::decode(data, max_pixels, gray),
    }
    .map_err(|error| match error {
        Refusal::TooLarge { width, height } => format!("the image has {width} x {height} pixels, more than {max_pixels}"),
        Refusal::Broken(message) => format!("the {name} can't be decoded: {message}"),
    })
}

/// Why there are no pixels.
enum Refusal {
    TooLarge { width: usize, height: usize },
    Broken(String),
}

/// Before anything of the image's size is allocated.
fn check_size(width: usize, height: usize, max_pixels: u64) -> Result<(), Refusal> {
    if width as u64 * height as u64 > max_pixels {
        return Err(Refusal::TooLarge { width, height });
    }
    if width == 0 || height == 0 {
        return Err(Refusal::Broken("it has no pixels".to_owned()));
    }
    Ok(())
}
