//! The configuration.

use std::fmt;

use bulkhead_sdk::prelude::*;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub(crate) width: u32,
    pub(crate) height: u32,
    #[serde(default)]
    pub(crate) color: Color,
    #[serde(default)]
    pub(crate) filter: Filter,
    /// A pixel becomes `(pixel * scale - mean) / std`.
    pub(crate) scale: Option<f64>,
    pub(crate) mean: Option<PerChannel>,
    pub(crate) std: Option<PerChannel>,
    /// Name of the tensor.
    #[serde(default = "default_input")]
    pub(crate) input: String,
    #[serde(default)]
    pub(crate) layout: Layout,
    #[serde(default)]
    pub(crate) dtype: Dtype,
    /// An image with more is refused before it is decoded.
    #[serde(default = "default_max_pixels")]
    pub(crate) max_pixels: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    #[default]
    Rgb,
    Gray,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filter {
    #[default]
    Bilinear,
    Bicubic,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    #[default]
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    #[default]
    Fp32,
    Uint8,
}

/// One value for all channels, or one for each.
#[derive(Clone, Debug)]
pub(crate) struct PerChannel(Vec<f64>);

impl PerChannel {
    pub(crate) fn get(&self, channel: usize) -> f64 {
        self.0.get(channel).or(self.0.first()).copied().unwrap_or_default()
    }
}

/// What `Image.MAX_IMAGE_PIXELS` of Pillow is for; that of a current camera, and 64 MiB once decoded.
const fn default_max_pixels() -> u64 {
    16_777_216
}

fn default_input() -> String {
    "image".to_owned()
}

/// Arbitrary; keeps the tensor's size far from overflow.
pub(crate) const MAX_EXTENT: u32 = 8192;

impl Image {
    /// Of the tensor.
    pub(crate) fn channels(&self) -> usize {
        match self.color {
            Color::Rgb => 3,
            Color::Gray => 1,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |pointer: &str, message: String| Err(Error::invalid(pointer, message));
        for (pointer, extent) in [("/width", self.width), ("/height", self.height)] {
            if !(1..=MAX_EXTENT).contains(&extent) {
                return refuse(pointer, format!("expected 1 to {MAX_EXTENT}, got {extent}"));
            }
        }
        let scaling = [("/scale", self.scale.is_some()), ("/mean", self.mean.is_some()), ("/std", self.std.is_some())];
        for (pointer, is_set) in scaling {
            if is_set && self.dtype == Dtype::Uint8 {
                return refuse(pointer, "pixels of \"uint8\" are not normalised: leave it out, or take \"fp32\"".to_owned());
            }
        }
        for (pointer, values) in [("/mean", &self.mean), ("/std", &self.std)] {
            let Some(PerChannel(values)) = values else { continue };
            if values.len() != 1 && values.len() != self.channels() {
                return refuse(pointer, format!("expected 1 value or {}, got {}", self.channels(), values.len()));
            }
            if pointer == "/std" && values.contains(&0.0) {
                return refuse(pointer, "nothing can be divided by 0".to_owned());
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PerChannel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PerChannelVisitor;

        impl<'de> Visitor<'de> for PerChannelVisitor {
            type Value = PerChannel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a list of numbers")
            }

            fn visit_f64<E>(self, value: f64) -> Result<PerChannel, E> {
                Ok(PerChannel(vec![value]))
            }

            fn visit_i64<E>(self, value: i64) -> Result<PerChannel, E> {
                Ok(PerChannel(vec![value as f64]))
            }

            fn visit_u64<E>(self, value: u64) -> Result<PerChannel, E> {
                Ok(PerChannel(vec![value as f64]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PerChannel, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(PerChannel(values))
            }
        }

        deserializer.deserialize_any(PerChannelVisitor)
    }
}
