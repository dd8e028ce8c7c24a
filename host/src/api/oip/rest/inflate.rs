//! Compressed bodies, in and out.

use std::io::{self, Read as _, Write};

use axum::http::{HeaderMap, HeaderValue, header};
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::api::error::{ApiError, INVALID_INPUT, UNSUPPORTED_MEDIA_TYPE};
use crate::api::meter::Meter;

/// How a body is compressed. `deflate` is deflate within zlib's frame, as HTTP says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

/// Answers smaller than this are sent as they are. Arbitrary: one packet.
const WORTHWHILE_BYTES: usize = 1400;

impl Encoding {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    /// How a request's body is compressed; none where it is not.
    ///
    /// # Errors
    /// 415 for another way.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(None) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => {
                Err(ApiError::new(UNSUPPORTED_MEDIA_TYPE, format!("expected the content encoding `gzip`, `deflate` or `identity`, got `{other}`")))
            }
        }
    }

    /// How the answer should be compressed: the client's favourite, gzip where it has none.
    pub(super) fn of_answer(headers: &HeaderMap, bytes: usize) -> Option<Self> {
        if bytes < WORTHWHILE_BYTES {
            return None;
        }
        let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        let quality = |name: &str| {
            accepted.split(',').find_map(|item| {
                let mut parts = item.split(';');
                let is_it = parts.next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case(name));
                let quality = parts.find_map(|parameter| parameter.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
                is_it.then_some(quality)
            })
        };
        let any = quality("*").unwrap_or(0.0);
        let (gzip, deflate, plain) = (quality("gzip").unwrap_or(any), quality("deflate").unwrap_or(any), quality("identity").unwrap_or(0.0));
        let best = gzip.max(deflate);
        (best > 0.0 && best >= plain).then_some(if gzip >= deflate { Self::Gzip } else { Self::Deflate })
    }

    /// Inflates a body, up to `limit` bytes.
    ///
    /// # Errors
    /// 413 beyond it; 400 for what is not so compressed.
    pub(super) fn inflate(self, body: &[u8], limit: u64, meter: &Meter) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        // One more than the limit tells that there is more.
        let most = limit.saturating_add(1);
        let read = match self {
            Self::Gzip => meter.reader(MultiGzDecoder::new(body).take(most)).read_to_end(&mut bytes),
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                let read = meter.reader((&mut decoder).take(most)).read_to_end(&mut bytes);
                match body.len() as u64 - decoder.total_in() {
                    left if left > 0 && read.as_ref().is_ok_and(|read| *read as u64 <= limit) => {
                        return Err(ApiError::new(INVALID_INPUT, format!("{left} bytes are left over behind the body's deflate data")));
                    }
                    _ => read,
                }
            }
        };
        match read {
            Ok(read) if read as u64 > limit => Err(ApiError::too_large("the body of a predict request, inflated,", limit)),
            Ok(_) => Ok(bytes),
            Err(error) => Err(ApiError::new(INVALID_INPUT, format!("the body is no {self:?} data: {error}"))),
        }
    }

    /// Compresses a body, fast rather than small.
    pub(super) fn compress<'a>(self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        /// Writes to memory, which does not fail.
        fn all<'a, W: Write>(mut encoder: W, pieces: impl Iterator<Item = &'a [u8]>, finish: impl FnOnce(W) -> io::Result<Vec<u8>>) -> Vec<u8> {
            for piece in pieces {
                let _ = encoder.write_all(piece);
            }
            finish(encoder).unwrap_or_default()
        }
        match self {
            Self::Gzip => all(GzEncoder::new(Vec::new(), Compression::fast()), pieces, GzEncoder::finish),
            Self::Deflate => all(ZlibEncoder::new(Vec::new(), Compression::fast()), pieces, ZlibEncoder::finish),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_there_and_back_within_a_bound() {
        let body = b"some text, again and again ".repeat(1000);
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let small = encoding.compress([&body[..100], &body[100..]].into_iter());
            assert!(small.len() < body.len() / 10);
            assert_eq!(encoding.inflate(&small, body.len() as u64, &Meter::NONE).unwrap(), body);
            assert!(encoding.inflate(&small, body.len() as u64 - 1, &Meter::NONE).is_err(), "a bomb");
            assert!(encoding.inflate(&small[..small.len() / 2], 1 << 20, &Meter::NONE).is_err(), "half of it");
            assert!(encoding.inflate(&body, 1 << 20, &Meter::NONE).is_err());
        }
        // Of several members all count, and what stands behind them is no gzip.
        let member = Encoding::Gzip.compress([&b"one"[..]].into_iter());
        assert_eq!(Encoding::Gzip.inflate(&[member.clone(), member.clone()].concat(), 6, &Meter::NONE).unwrap(), b"oneone");
        assert!(Encoding::Gzip.inflate(&[member.clone(), member.clone()].concat(), 5, &Meter::NONE).is_err());
        assert!(Encoding::Gzip.inflate(&[&member[..], b"rest"].concat(), 100, &Meter::NONE).is_err());
        let deflated = Encoding::Deflate.compress([&b"one"[..]].into_iter());
        assert!(Encoding::Deflate.inflate(&[&deflated[..], b"rest"].concat(), 100, &Meter::NONE).is_err());
    }

    #[test]
    fn the_clients_favourite_is_taken() {
        for (accept, expected) in [
            ("gzip, deflate", Some(Encoding::Gzip)),
            ("deflate", Some(Encoding::Deflate)),
            ("gzip;q=0.5, deflate;q=0.8", Some(Encoding::Deflate)),
            ("gzip;q=0", None),
            ("br", None),
            ("*", Some(Encoding::Gzip)),
            ("identity, gzip;q=0.5", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(Encoding::of_answer(&headers, 1 << 20), expected, "{accept}");
            assert_eq!(Encoding::of_answer(&headers, 10), None);
        }
    }
}
