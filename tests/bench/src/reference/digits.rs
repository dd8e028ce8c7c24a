//! Handwritten digits: a JPEG in, a label out. The picture goes through the same code as in the plugin `image`,
//! compiled natively, but that the library decodes it, which natively has vector instructions.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bulkhead_sdk::{Blob, Payload, Step, Tensor, Tensors, Transform as _, glue};
use image::Image;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use parking_lot::Mutex;

use super::answer::{Labels, Scores, answer, transforms};
use super::{Refusal, onnx, refused};

thread_local! {
    /// Read once on each thread: the transform is entered by one request at a time.
    static IMAGE: RefCell<Option<Image>> = const { RefCell::new(None) };
}

pub(super) struct Digits {
    session: Mutex<Session>,
    labels: Labels,
    /// The configuration of `image` in the manifest.
    config: String,
}

impl Digits {
    pub(super) fn load(environment: &Environment, demo: &Path) -> Result<Self> {
        let folder = demo.join("digits");
        let config = transforms(&folder)?.into_iter().next().context("the manifest has no transforms")?;
        let session = onnx::session(environment, &folder.join("model.onnx"), 1)?;
        Ok(Self { session, labels: Labels::read(&folder)?, config: config.to_string() })
    }

    fn pixels(&self, body: Bytes) -> Result<Tensors> {
        IMAGE.with_borrow_mut(|image| {
            let image = match image {
                Some(image) => image,
                None => image.insert(glue::configured(&self.config, Image::check).map_err(|error| anyhow!("{error}"))?),
            };
            let blob = Blob { content_type: "image/jpeg".to_owned(), data: body.into() };
            match image.before(Payload::Blob(blob)) {
                Ok(Step::Proceed(Payload::Tensors(tensors))) => Ok(tensors),
                Ok(_) => Err(anyhow!("`image` gave no tensors")),
                Err(error) => Err(anyhow!("{error}")),
            }
        })
    }
}

/// `POST /jpeg`.
pub(super) async fn jpeg(State(digits): State<Arc<Digits>>, body: Bytes) -> Result<Response, Refusal> {
    let pixels = digits.pixels(body).map_err(refused)?;
    let tensor: &Tensor = pixels.iter().next().ok_or_else(|| refused("`image` gave no tensor"))?;
    let values = tensor.values::<f32>().map_err(refused)?;
    let value = TensorRef::from_array_view((tensor.shape(), &*values)).map_err(refused)?;
    let mut session = digits.session.lock();
    let ran = session.run(ort::inputs![tensor.name() => value]).map_err(refused)?;
    let (_, logits) = ran["logits"].try_extract_tensor::<f32>().map_err(refused)?;
    Ok(Json(answer(&digits.labels, logits, Scores::Logits)).into_response())
}
