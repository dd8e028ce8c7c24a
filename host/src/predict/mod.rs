//! The one use-case: down through the transforms' `before`, through the model or what drives it, and up through their
//! `after`.

mod cache;
mod error;
mod halt;
mod key;
mod slots;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use cache::{AnswerCache, Keep, Kept};
pub use cache::{CacheEvent, CacheUse, LocalCache};
pub use error::PredictError;
use key::Key;
pub use slots::{Core, Driver, Missing, Slot, SlotParts, Slots, State, Variant};

use crate::aside::aside;
use crate::clock;
use crate::payload::Payload;
use crate::runner::{RunError, RunTimes, Signature, Terms};
use crate::sandbox::{self, Exchange, Places, RequestInfo, SandboxError, Step, Transform};
use crate::telemetry::metrics::{CANCELLED, Timings};
use crate::tensor::{Datatype, Tensor};
use crate::tensor_json::{self, Answer, Malformed};

/// The name under which an answer that is no tensors can be asked for.
pub const ANSWER: &str = "answer";

/// What a request asks of a version.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The body.
    pub payload: Payload,
    /// Names of the outputs that are wanted; empty for all.
    pub outputs: Vec<String>,
    /// Level of priority, counted from 1; 0 for what the manifest says.
    pub priority: u64,
    /// How long it may wait for the model at most.
    pub timeout: Option<Duration>,
    /// Whether an answer that is kept will do.
    pub cache: CacheUse,
}

impl From<Payload> for Ask {
    fn from(payload: Payload) -> Self {
        Self { payload, outputs: Vec::new(), priority: 0, timeout: None, cache: CacheUse::Any }
    }
}

/// What came out.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub payload: Payload,
    /// The id that a tensor request brought as JSON, to be echoed.
    pub id: Option<String>,
    /// Where the time went.
    pub timings: Timings,
    /// What the look into the cache came to, where the version has one.
    pub cache: Option<CacheEvent>,
}

impl Reply {
    fn kept(kept: &Kept, id: Option<String>) -> Self {
        Self { payload: kept.payload.clone(), id, timings: Timings::default(), cache: Some(CacheEvent::Hit) }
    }
}

/// Runs one request through a version, and counts what became of it.
///
/// # Errors
/// See [`PredictError`].
pub async fn run(slot: &Slot, request: &RequestInfo, ask: Ask) -> Result<Reply, PredictError> {
    let began = clock::now();
    let mut going = Going { slot, began, over: false };
    let answered = match slot.why_halted() {
        // It was picked before, and the body came later.
        Some(why) => Err(PredictError::Barred(why.clone())),
        None => tokio::select! {
            // What can be answered at once is: nobody registers for an end that mostly never comes.
            biased;
            answered = answer(slot, request, ask) => answered,
            why = slot.halted() => Err(PredictError::Barred(why)),
        },
    };
    going.over = true;
    match answered {
        Ok(reply) => {
            match reply.cache {
                Some(CacheEvent::Hit) => slot.metrics().answered_from_cache(began.elapsed()),
                _ => slot.metrics().answered(reply.timings, !slot.transforms().is_empty()),
            }
            if let Some(event) = reply.cache {
                slot.metrics().cached(event.name());
            }
            Ok(reply)
        }
        Err(error) => {
            if let PredictError::Plugin { plugin, source } = &error {
                slot.metrics().plugin_failed(plugin, source.label());
                log_failure(request, plugin, source);
            }
            slot.metrics().failed(error.code(), began.elapsed());
            Err(error)
        }
    }
}

/// A request that is under way: one that is dropped before it is over is one whose caller went away.
struct Going<'a> {
    slot: &'a Slot,
    began: Instant,
    over: bool,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.slot.metrics().failed(CANCELLED, self.began.elapsed());
        }
    }
}

/// From what is kept, or by running it.
async fn answer(slot: &Slot, request: &RequestInfo, ask: Ask) -> Result<Reply, PredictError> {
    let is_plain = slot.transforms().is_empty() && slot.core().takes_tensors();
    // Who asks the same again and again mostly does so to the letter: then the text need not even be read.
    let exact = match (&ask.payload, slot.cache()) {
        (Payload::Json(text), Some(cache)) if is_plain && ask.cache == CacheUse::Any => {
            let key = aside(text.len(), || key::exact(slot, &request.headers, text));
            if let Some(kept) = cache.get(&key).await
                && kept.stands(cache).await
            {
                return Ok(Reply::kept(&kept, None));
            }
            Some(key)
        }
        _ => None,
    };
    // JSON of tensors asks the same as the tensors, whatever the protocol.
    let (ask, id) = if is_plain { decoded(ask)? } else { (ask, None) };
    let Some(cache) = slot.cache() else {
        let mut timings = Timings::default();
        let payload = made(slot, request, ask, &mut timings).await?;
        return Ok(Reply { payload, id, timings, cache: None });
    };
    let key = aside(ask.payload.bytes(), || key::key(slot, &request.headers, &ask.payload, &ask.outputs));
    if ask.cache == CacheUse::Any
        && let Some(kept) = cache.get(&key).await
    {
        // Asked twice, it may be asked again; an id is of one request only.
        let kept = match exact.filter(|_| id.is_none()) {
            Some(exact) => keep_exact(slot, cache, exact, key, kept).await,
            None => kept,
        };
        return Ok(Reply::kept(&kept, id));
    }
    let timings = Mutex::new(Timings::default());
    let wanted = ask.cache;
    let make = || async {
        let mut own = Timings::default();
        let payload = made(slot, request, ask, &mut own).await?;
        *timings.lock() = own;
        Ok(payload)
    };
    // Somebody else's run may last longer than this request's time.
    let looked = tokio::time::timeout_at(request.deadline.moment().into(), cache::answer(cache, key, wanted, make)).await;
    let (kept, event) = looked.map_err(|_| PredictError::from(RunError::Deadline))??;
    let timings = *timings.lock();
    Ok(Reply { payload: Keep::taken(kept), id, timings, cache: Some(event) })
}

/// Keeps an answer as the text that it is to who asked in this one, too; gives that where there is one.
async fn keep_exact(slot: &Slot, cache: &dyn AnswerCache, exact: Key, key: Key, kept: Kept) -> Kept {
    let Payload::Tensors(outputs) = &kept.payload else { return kept };
    let answer = Answer { model: slot.model(), version: slot.version(), id: None, outputs, follow: &[] };
    // What JSON can't carry is refused to each who asks.
    let Ok(text) = tensor_json::encode(&answer) else { return kept };
    let text = Keep::text(text, key, &kept);
    cache.put(exact, Arc::clone(&text)).await;
    text
}

async fn made(slot: &Slot, request: &RequestInfo, ask: Ask, timings: &mut Timings) -> Result<Payload, PredictError> {
    let (transforms, predictor) = (slot.transforms(), slot.predictor());
    let places = Places::take(transforms, predictor, request.deadline).await.map_err(|source| {
        let first = transforms.first().map(|first| first.plugin()).or(predictor.map(|predictor| predictor.plugin()));
        PredictError::plugin(first.unwrap_or_default(), source)
    })?;
    let Ask { payload, outputs: wanted, priority, timeout, .. } = ask;
    let inside = Inside { slot, request, places: places.as_ref(), terms: Terms { deadline: request.deadline, priority, timeout } };
    let answer = match (transforms, &places) {
        ([], _) | (_, None) => inside.infer(payload, timings).await?,
        // Boxed, so that requests without plugins don't carry the room for it around.
        (transforms, Some(places)) => Box::pin(decorated(&inside, transforms, places, payload, timings)).await?,
    };
    match answer {
        Payload::Tensors(outputs) => Ok(Payload::Tensors(select(outputs, &wanted)?)),
        answer => match wanted.iter().find(|name| *name != ANSWER) {
            Some(name) => Err(PredictError::UnknownOutput { name: name.clone(), have: vec![ANSWER.to_owned()] }),
            None => Ok(answer),
        },
    }
}

/// What a caller is told of a plugin, its operator reads under the same request id: a refusal is nothing unusual, and a
/// crowd is told of by the metrics.
fn log_failure(request: &RequestInfo, plugin: &str, source: &SandboxError) {
    let (id, kind) = (&*request.id, source.label());
    match source {
        SandboxError::Busy => {}
        SandboxError::Invalid { .. } => {
            tracing::info!(request.id = id, model = &*request.model, plugin, kind, error = %source, "a plugin refused a request")
        }
        _ => tracing::warn!(request.id = id, model = &*request.model, plugin, kind, error = %source, "a plugin failed"),
    }
}

async fn decorated(
    inside: &Inside<'_>,
    transforms: &[Transform],
    places: &Places<'_>,
    payload: Payload,
    timings: &mut Timings,
) -> Result<Payload, PredictError> {
    let request = inside.request;
    let start = clock::now();
    let mut open: Vec<Option<Exchange<'_>>> = Vec::with_capacity(transforms.len());
    let mut step = Step::Proceed(payload);
    for transform in transforms {
        let Step::Proceed(payload) = step else { break };
        let does = transform.description();
        if !does.before {
            // Begins on the way out: a sandbox that has nothing to remember is not held while the model runs.
            open.push(None);
            step = Step::Proceed(payload);
            continue;
        }
        let failed = |source| PredictError::plugin(transform.plugin(), source);
        let (decided, exchange) = transform.before(request, places, payload).await.map_err(failed)?;
        step = decided;
        open.push(exchange);
    }
    timings.before = start.elapsed();

    // Where a transform answered, it and those further in have no say on the way out.
    let (mut payload, outer) = match step {
        Step::Proceed(payload) => (read_by(transforms, inside.infer(payload, timings).await?), open.len()),
        Step::Answer(payload) => (payload, open.len() - 1),
    };

    let start = clock::now();
    open.truncate(outer);
    for (transform, exchange) in transforms[..outer].iter().zip(open).rev() {
        if !transform.description().after {
            continue;
        }
        let failed = |source| PredictError::plugin(transform.plugin(), source);
        payload = match exchange {
            Some(exchange) => exchange.after(payload).await,
            None => transform.after(request, places, payload).await,
        }
        .map_err(failed)?;
    }
    timings.after = start.elapsed();
    Ok(payload)
}

/// What the innermost transform reads of the model's outputs: the others would be copied into it for nothing.
fn read_by(transforms: &[Transform], mut outputs: Payload) -> Payload {
    let innermost = transforms.iter().map(Transform::description).rfind(|does| does.after);
    if let (Payload::Tensors(tensors), Some(does)) = (&mut outputs, innermost)
        && !does.consumes.is_empty()
    {
        tensors.retain(|tensor| does.consumes.iter().any(|read| read.name == tensor.name));
    }
    outputs
}

/// With tensors in place of their JSON, and the id that this had.
fn decoded(ask: Ask) -> Result<(Ask, Option<String>), PredictError> {
    let Payload::Json(text) = &ask.payload else { return Ok((ask, None)) };
    let request = aside(text.len(), || tensor_json::decode(text))?;
    if let Some((at, _)) = request.follow.first() {
        let pointer = format!("/inputs/{at}/parameters/binary_data_size");
        let message = "nothing follows the JSON here: binary tensors go to `/v2/models/{name}/infer`".to_owned();
        return Err(Malformed { pointer, message }.into());
    }
    let outputs = request.outputs.into_iter().map(|output| output.name).collect();
    let payload = Payload::Tensors(request.inputs);
    Ok((Ask { payload, outputs, priority: request.priority, timeout: request.timeout, ..ask }, request.id))
}

/// What is inside the transforms.
struct Inside<'a> {
    slot: &'a Slot,
    request: &'a RequestInfo,
    /// Where anything runs in a sandbox.
    places: Option<&'a Places<'a>>,
    terms: Terms,
}

impl Inside<'_> {
    async fn infer(&self, payload: Payload, timings: &mut Timings) -> Result<Payload, PredictError> {
        let payload = match payload {
            // A transform may hand on tensors as JSON.
            Payload::Json(_) if self.slot.core().takes_tensors() => decoded(payload.into())?.0.payload,
            payload => payload,
        };
        match (self.slot.core(), self.places) {
            (Core::Engine(model), _) => {
                let ran = model.run(tensors(payload)?, self.terms).await?;
                ran_for(timings, ran.times);
                Ok(Payload::Tensors(ran.outputs))
            }
            (Core::Predictor(driver), Some(places)) => {
                let payload = match self.slot.core().takes_tensors() {
                    true => Payload::Tensors(driver.signature.arrange(tensors(payload)?)?),
                    false => payload,
                };
                let start = clock::now();
                let (answer, times) = Box::pin(driver.predictor.predict(self.request, places, payload, self.terms)).await;
                ran_for(timings, times);
                timings.predict = start.elapsed().saturating_sub(total(times));
                // Whatever the component made of that.
                if self.terms.deadline.left().is_zero() {
                    return Err(RunError::Deadline.into());
                }
                let answer = answer.and_then(|answer| match answer {
                    Payload::Tensors(outputs) if self.slot.core().gives_tensors() => conform(outputs, &driver.signature).map(Payload::Tensors),
                    answer => Ok(answer),
                });
                answer.map_err(|source| PredictError::plugin(driver.predictor.plugin(), source))
            }
            (Core::Predictor(driver), None) => Err(PredictError::plugin(driver.predictor.plugin(), SandboxError::Busy)),
        }
    }
}

/// A predictor's tensors as its signature has them: in its order, and of its types where `wasi:nn` has another name for those.
fn conform(mut outputs: Vec<Tensor>, signature: &Signature) -> Result<Vec<Tensor>, SandboxError> {
    let mut conformed = Vec::with_capacity(signature.outputs.len());
    for port in &signature.outputs {
        let Some(at) = outputs.iter().position(|output| output.name == port.name) else {
            let have: Vec<_> = outputs.iter().map(|output| format!("`{}`", output.name)).collect();
            return Err(SandboxError::Internal(format!("it says that it gives `{}`, and gave {}", port.name, have.join(", "))));
        };
        let mut output = outputs.swap_remove(at);
        if sandbox::travels_as(port.datatype, output.datatype) {
            output.datatype = port.datatype;
        }
        if output.datatype == Datatype::Bool && output.data.iter().any(|value| *value > 1) {
            return Err(SandboxError::Internal(format!("it says that it gives `{}` BOOL, and gave bytes beyond 0 and 1", port.name)));
        }
        if output.shape == [1] && port.shape.as_deref() == Some(&[]) {
            output.shape.clear();
        }
        if !port.is_compatible(output.datatype, &output.shape) {
            let (name, shape) = (&port.name, port.shape.as_deref().unwrap_or_default());
            return Err(SandboxError::Internal(format!(
                "it says that it gives `{name}` {} {shape:?}, and gave {} {:?}",
                port.datatype, output.datatype, output.shape
            )));
        }
        conformed.push(output);
    }
    Ok(conformed)
}

fn tensors(payload: Payload) -> Result<Vec<Tensor>, PredictError> {
    match payload {
        Payload::Tensors(tensors) => Ok(tensors),
        Payload::Json(_) => Err(PredictError::NotTensors { content_type: "application/json".to_owned() }),
        Payload::Blob { content_type, .. } => Err(PredictError::NotTensors { content_type }),
    }
}

fn ran_for(timings: &mut Timings, times: RunTimes) {
    (timings.queue, timings.assembly, timings.inference, timings.split) = (times.queue, times.assembly, times.inference, times.split);
}

fn total(times: RunTimes) -> Duration {
    times.queue + times.assembly + times.inference + times.split
}

/// The outputs that are asked for, in the order in which they are; all where none is named.
fn select(mut outputs: Vec<Tensor>, wanted: &[String]) -> Result<Vec<Tensor>, PredictError> {
    if wanted.is_empty() {
        return Ok(outputs);
    }
    let mut selected = Vec::with_capacity(wanted.len());
    for name in wanted {
        match outputs.iter().position(|output| output.name == *name) {
            Some(at) => selected.push(outputs.swap_remove(at)),
            None if selected.iter().any(|output: &Tensor| output.name == *name) => return Err(PredictError::OutputTwice { name: name.clone() }),
            None => {
                let have = selected.iter().chain(&outputs).map(|output| output.name.clone()).collect();
                return Err(PredictError::UnknownOutput { name: name.clone(), have });
            }
        }
    }
    Ok(selected)
}

/// The moment at which a request came, and by when it must be answered.
#[must_use]
pub fn deadline(limit: Duration, arrived: Instant) -> clock::Deadline {
    clock::Deadline::at(arrived + limit)
}
