//! One model finds boxes in a picture; what is in each is cut out here, and another model reads all of them in one run.

mod answer;
mod boxes;
mod crop;

use bulkhead_sdk::prelude::*;

use answer::{Answer, Found};
use boxes::Candidate;
use crop::Picture;

/// The name that the manifest grants the model under that finds boxes.
const DETECTOR: &str = "detector";
/// The name that the manifest grants the model under that reads what is in them.
const READER: &str = "reader";

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectAndRead {
    #[serde(default)]
    detector: Detector,
    reader: Reader,
}

/// What the detector takes and gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Detector {
    /// Its picture: FP32 `[1, channels, height, width]`.
    image: String,
    /// Its boxes: FP32 `[n, 4]`, as left, top, right and bottom in pixels.
    boxes: String,
    /// Their scores: FP32 `[n]`.
    scores: String,
    /// Boxes below this are none.
    least_score: f32,
    /// Of two boxes that overlap by more than this share of what they cover together, only the better counts.
    overlap: f32,
    /// The best so many are read.
    most: usize,
}

impl Default for Detector {
    fn default() -> Self {
        let [image, boxes, scores] = ["image", "boxes", "scores"].map(str::to_owned);
        Self { image, boxes, scores, least_score: 0.0, overlap: 0.5, most: 64 }
    }
}

/// What the reader takes and gives.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reader {
    /// Its pictures: FP32 `[n, channels, height, width]`.
    #[serde(default = "image")]
    image: String,
    width: usize,
    height: usize,
    /// Its scores: FP32 `[n, classes]`; softmax makes probabilities of them.
    output: String,
    /// Names of the classes; left out, their numbers.
    labels: Option<Vec<String>>,
}

fn image() -> String {
    "image".to_owned()
}

/// Pixels of one cut-out, each way. Arbitrary: what reads is smaller than what finds.
const LARGEST: usize = 1024;

/// Cut-outs at most.
const MOST: usize = 256;

impl Predictor for DetectAndRead {
    fn predict(&mut self, payload: Payload) -> Result<Payload> {
        let inputs = payload.into_tensors()?;
        let found = Graph::named(DETECTOR)?.forward(&inputs)?;
        let detector = &self.detector;
        let picture = Picture::of(inputs.get(&detector.image)?)?;
        let candidates = boxes::candidates(found.get(&detector.boxes)?, found.get(&detector.scores)?)?;
        let mut kept = boxes::best(candidates, detector.least_score, detector.overlap, detector.most);
        if kept.is_empty() {
            return Payload::from_json(&Answer { found: Vec::new() });
        }
        kept.sort_by(Candidate::in_reading_order);
        let reader = &self.reader;
        let crops = crop::all(&picture, &kept, &reader.image, (reader.width, reader.height))?;
        let read = Graph::named(READER)?.compute([crops])?;
        let said = answer::most_probable(read.get(&reader.output)?, kept.len())?;
        let found = kept.iter().zip(said).map(|(candidate, (class, probability))| {
            Ok(Found { r#box: candidate.shares(&picture), score: candidate.score, label: reader.label(class)?, probability })
        });
        Payload::from_json(&Answer { found: found.collect::<Result<_>>()? })
    }

    fn describe(&self) -> PredictorDescription {
        let Self { detector, reader } = self;
        let (width, height) = (reader.width as i64, reader.height as i64);
        PredictorDescription::new("One model finds boxes, another reads what is in them")
            .takes_as(DETECTOR)
            .feeds(DETECTOR, (&detector.image, Datatype::Fp32, &[1, -1, -1, -1]))
            .reads(DETECTOR, (&detector.boxes, Datatype::Fp32, &[-1, 4]))
            .reads(DETECTOR, (&detector.scores, Datatype::Fp32, &[-1]))
            .feeds(READER, (&reader.image, Datatype::Fp32, &[-1, -1, height, width]))
            .reads(READER, (&reader.output, Datatype::Fp32, &[-1, reader.labels.as_ref().map_or(-1, |labels| labels.len() as i64)]))
            .output_schema(&answer::schema())
            .config_schema(&answer::config_schema())
    }

    fn check(&self) -> Result<()> {
        let pixels = 1..=LARGEST;
        if !pixels.contains(&self.reader.width) || !pixels.contains(&self.reader.height) {
            return Err(Error::invalid("/reader", format!("`width` and `height` are 1 to {LARGEST} pixels")));
        }
        if !(1..=MOST).contains(&self.detector.most) {
            return Err(Error::invalid("/detector/most", format!("`most` is 1 to {MOST} boxes")));
        }
        if !(0.0..=1.0).contains(&self.detector.overlap) {
            return Err(Error::invalid("/detector/overlap", "`overlap` is a share from 0 to 1"));
        }
        Ok(())
    }
}

impl Reader {
    fn label(&self, class: usize) -> Result<String> {
        match &self.labels {
            None => Ok(class.to_string()),
            Some(labels) => labels.get(class).cloned().ok_or_else(|| {
                Error::internal(format!("the reader says class {class}, and `labels` names {}: name them all, in its order", labels.len()))
            }),
        }
    }
}

bulkhead_sdk::predictor!(DetectAndRead);
