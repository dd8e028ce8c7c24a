//! A plugin that misbehaves on request. The body says how: `{"before": "loop"}`, `{"after": "trap"}`; around a model
//! that takes `x` FP32 [-1, 2], such as `identity_f32`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_sdk::bindings::bulkhead::plugin::types as wit;
use bulkhead_sdk::prelude::*;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hostile {
    /// What it does when it is asked to describe itself.
    #[serde(default)]
    describe: Act,
    #[serde(skip)]
    after: Act,
    #[serde(skip)]
    request: Option<Request>,
}

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    before: Act,
    #[serde(default)]
    after: Act,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    /// What a good plugin does.
    #[default]
    Behave,
    Loop,
    Trap,
    Panic,
    /// More and more memory.
    Allocate,
    /// Deeper and deeper.
    Recurse,
    /// Ten thousand log lines.
    Flood,
    /// One log line, which tries to look like two.
    Say,
    Refuse,
    Unavailable,
    Fail,
    /// Answers how many requests this instance has had.
    Count,
    /// Answers what it knows of the request.
    Tell,
    /// Hands on a tensor of NaN, or passes on what it is given.
    Nan,
    /// Hands on a tensor with less data than its shape says.
    Short,
    /// Hands on a tensor of a name that the model does not know.
    Misnamed,
    /// Answers a content type that would break a header.
    OddType,
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Open for Hostile {
    fn open(&mut self, request: Request) -> Result<()> {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        self.request = Some(request);
        Ok(())
    }
}

impl Transform for Hostile {
    fn before(&mut self, payload: Payload) -> Result<Step> {
        let wish: Wish = payload.json()?;
        self.after = wish.after;
        misbehave(wish.before)?;
        if let Some(answer) = self.answer(wish.before) {
            return Ok(Step::Answer(answer));
        }
        let tensor = match wish.before {
            Act::Nan => Tensor::new("x", &[1, 2], &[f32::NAN, f32::INFINITY])?,
            Act::Short => wit::Tensor { name: "x".to_owned(), datatype: Datatype::Fp32, shape: vec![1, 2], data: vec![0; 7] }.into(),
            Act::Misnamed => Tensor::new("z", &[1, 2], &[1.0f32, 2.0])?,
            _ => Tensor::new("x", &[1, 2], &[1.0f32, 2.0])?,
        };
        Ok(Step::Proceed(tensor.into()))
    }

    fn after(&mut self, payload: Payload) -> Result<Payload> {
        misbehave(self.after)?;
        if let Some(answer) = self.answer(self.after) {
            return Ok(answer);
        }
        if matches!(self.after, Act::Nan) {
            return Ok(payload);
        }
        Payload::from_json(&json!({ "y": payload.into_tensors()?.get("y")?.values::<f32>()?.to_vec() }))
    }

    fn describe(&self) -> Description {
        // A refusal has no place here.
        let _ = misbehave(self.describe);
        Description::new("Misbehaves on request")
    }
}

impl Hostile {
    fn answer(&self, act: Act) -> Option<Payload> {
        match act {
            Act::Count => Some(Payload::Json(json!({ "count": REQUESTS.load(Ordering::Relaxed) }).to_string())),
            Act::Tell => {
                let request = self.request.as_ref()?;
                let headers: Vec<_> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                let told = json!({ "id": request.id, "model": request.model, "version": request.version, "headers": headers, "time_left_us": request.time_left_us });
                Some(Payload::Json(told.to_string()))
            }
            Act::OddType => Some(Payload::Blob(Blob { content_type: "text/plain\r\nx-forged: 1".to_owned(), data: b"odd".to_vec() })),
            _ => None,
        }
    }
}

fn misbehave(act: Act) -> Result<()> {
    match act {
        Act::Loop => loop {
            black_box(());
        },
        Act::Trap => std::process::abort(),
        Act::Panic => panic!("as asked for"),
        Act::Allocate => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        Act::Recurse => {
            black_box(recurse(1));
        }
        Act::Flood => {
            for line in 0..10_000 {
                log::info(format!("line {line}"));
            }
        }
        Act::Say => log::warn("one line\nERROR another \u{1b}[2J"),
        Act::Refuse => return Err(Error::invalid("/before", "expected anything but this")),
        Act::Unavailable => return Err(Error::unavailable("not now")),
        Act::Fail => return Err(Error::internal("it went wrong in here")),
        _ => {}
    }
    Ok(())
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if frame[1] == 0 { 0 } else { recurse(depth + 1).wrapping_add(frame[2]) }
}

bulkhead_sdk::transform!(Hostile);
