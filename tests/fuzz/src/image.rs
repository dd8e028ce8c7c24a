//! Pictures, as the plugin `image` reads them: natively, without a sandbox around it.

use bulkhead_sdk::testing::Exchange;
use bulkhead_sdk::{Blob, Error, Payload, Step};
use image::Image;
use serde_json::json;

/// Pixels that a picture may have: what a header claims beyond them is refused before memory is reserved.
const MOST: u64 = 1 << 14;

/// The first byte says whether grays are wanted or colours. Bytes are a picture, or refused as the caller's fault.
pub fn image(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let (color, channels) = if how & 1 == 0 { ("gray", 1) } else { ("rgb", 3) };
    let config = json!({ "width": 8, "height": 8, "color": color, "dtype": "uint8", "max_pixels": MOST });
    let blob = Blob { content_type: "application/octet-stream".to_owned(), data: data.to_vec() };
    let mut exchange = Exchange::<Image>::open(&config).expect("a configuration");
    match exchange.before(Payload::Blob(blob)) {
        Ok(Step::Proceed(payload)) => {
            let tensors = payload.into_tensors().expect("tensors");
            assert_eq!(tensors.get("image").expect("a tensor").bytes().len(), 8 * 8 * channels);
        }
        Ok(Step::Answer(_)) => unreachable!("it has answered itself"),
        Err(Error::Invalid { message, .. }) => assert!(!message.is_empty()),
        Err(other) => unreachable!("{other}"),
    }
}
