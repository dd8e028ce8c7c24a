//! Turns PNG and JPEG images into the tensor of a vision model, with the pixels that Pillow's
//! `Image.open(…).convert(color).resize((width, height), filter)` gives.
//!
//! The conversion of colours comes before the resizing, as in that line. Alpha is dropped, not blended, as `convert`
//! does. What EXIF says of the orientation is not applied, as Pillow does not by itself. PNG of 16 bits is cut to the
//! upper 8. Of an animated PNG the first picture is taken. JPEG in CMYK is refused.

mod body;
mod config;
mod decode;
mod describe;
mod dots;
mod resample;
mod taps;
mod tensor;
mod vectors;

use bulkhead_sdk::prelude::*;

use config::Color;
pub use config::Image;

impl Transform for Image {
    fn before(&mut self, payload: Payload) -> Result<Step> {
        let body = body::read(&payload)?;
        let refuse = |message| Error::invalid(body.pointer, message);
        let source = decode::decode(&body.data, body.declared, self.max_pixels, self.color == Color::Gray).map_err(refuse)?;
        Ok(Step::Proceed(tensor::of(self, source)?.into()))
    }

    fn describe(&self) -> Description {
        describe::describe(self)
    }

    fn check(&self) -> Result<()> {
        self.validate()
    }
}

bulkhead_sdk::transform!(Image);
