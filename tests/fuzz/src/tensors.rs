//! JSON, and tensors as bytes behind it.

use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use bulkhead::api::{Framed, read_frame};

use super::{pieces, wait};

/// Bytes of a body, and of what a compressed one becomes.
const MOST: u64 = 1 << 16;

/// First what the headers say: one byte of how, two of the length of the JSON. The rest is the body.
pub fn tensors(data: &[u8]) {
    let Some((&[how, low, high], body)) = data.split_first_chunk::<3>() else { return };
    let mut headers = HeaderMap::new();
    if how & 1 != 0 {
        headers.insert("inference-header-content-length", u16::from_le_bytes([low, high]).into());
    }
    match how >> 1 & 3 {
        1 => drop(headers.insert("content-encoding", "gzip".parse().expect("a value"))),
        2 => drop(headers.insert("content-encoding", "deflate".parse().expect("a value"))),
        _ => {}
    }
    let read = |length| wait(read_frame(&headers, pieces(body, length), MOST)).map_err(|error| error.into_response().status());
    let whole = read(body.len());
    let in_pieces = read(usize::from(how >> 3) + 1);
    match (whole, in_pieces) {
        (Ok(Framed::Bytes(one)), Ok(Framed::Bytes(other))) => assert_eq!(one, other),
        (Ok(Framed::Request(one)), Ok(Framed::Request(other))) => {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            for (at, bytes) in &one.follow {
                assert_eq!(one.inputs[*at].data.len(), *bytes);
            }
            assert_eq!(one.inputs.len(), one.content_types.len());
        }
        (Err(one), Err(other)) => assert!(one == other && one.is_client_error(), "{one} {other}"),
        (one, other) => unreachable!("whole it is {one:?}, in pieces {other:?}"),
    }
}
