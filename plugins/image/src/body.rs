//! The image's bytes, from whatever the request carries.

mod base64;

use std::borrow::Cow;

use bulkhead_sdk::prelude::*;

use crate::decode::Format;

/// The image's bytes.
pub(crate) struct Body<'p> {
    pub(crate) data: Cow<'p, [u8]>,
    /// What the request says they are.
    pub(crate) declared: Option<Format>,
    /// Where they stand in the body.
    pub(crate) pointer: &'static str,
}

/// Borrowed, as a string of base64 has no escapes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json<'p> {
    #[serde(borrow)]
    image: Cow<'p, str>,
}

/// The same, for an error with a pointer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owned {
    image: String,
}

const POINTER: &str = "/image";

pub(crate) fn read(payload: &Payload) -> Result<Body<'_>> {
    match payload {
        Payload::Blob(blob) => match declared(&blob.content_type) {
            Some(declared) => Ok(Body { data: Cow::Borrowed(&blob.data), declared, pointer: "" }),
            None => Err(payload.is_not("an image of type `image/png` or `image/jpeg`")),
        },
        Payload::Json(text) => match serde_json::from_str::<Json<'_>>(text) {
            Ok(Json { image: Cow::Borrowed(image) }) => encoded(image),
            Ok(Json { image: Cow::Owned(image) }) => encoded(&image),
            Err(_) => encoded(&payload.json::<Owned>()?.image),
        },
        Payload::Tensors(_) => Err(payload.is_not("an image or JSON with an `image` in base64")),
    }
}

/// Base64, or a URL such as `data:image/png;base64,…`.
fn encoded(image: &str) -> Result<Body<'static>> {
    let refuse = |message: &str| Error::invalid(POINTER, message);
    let mut declared = None;
    let mut text = image;
    if let Some(url) = image.strip_prefix("data:") {
        let (kind, data) = url.split_once(',').ok_or_else(|| refuse("the data URL has no comma before its data"))?;
        let kind = kind.strip_suffix(";base64").ok_or_else(|| refuse("a data URL is taken in base64 only"))?;
        declared = self::declared(kind).ok_or_else(|| refuse("the data URL is of another type than `image/png` or `image/jpeg`"))?;
        text = data;
    }
    let data = base64::decode(text).ok_or_else(|| refuse("the text is not base64"))?;
    Ok(Body { data: Cow::Owned(data), declared, pointer: POINTER })
}

/// None where the type is no image's; `Some(None)` where it leaves open of which format.
fn declared(content_type: &str) -> Option<Option<Format>> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let types = [
        ("image/png", Some(Format::Png)),
        ("image/jpeg", Some(Format::Jpeg)),
        ("image/jpg", Some(Format::Jpeg)),
        ("application/octet-stream", None),
        ("", None),
    ];
    types.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name)).map(|(_, format)| *format)
}
