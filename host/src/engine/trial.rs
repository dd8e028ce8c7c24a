//! What a few runs on made-up inputs tell of a model when it is loaded: how long it takes, where its rows are, and whether
//! batches are of any use to it.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_registry::{BatchAxis, Batching};

use super::backend::{Backend, BackendError};
use super::layout::{Layout, Ragged, Rows, Share, element};
use super::merge::Merged;
use super::sample::Sample;
use super::watch::Watch;
use crate::clock;
use crate::runner::{Port, Signature};
use crate::tensor::{Datatype, Tensor};

/// Runs of which the shortest counts; the first pays for first touches.
const TRIALS: usize = 3;

/// A trial run is ended when it has lasted this long. Arbitrary: whoever uploads waits for it.
const TRIAL_AT_MOST: Duration = Duration::from_secs(10);

/// Runs that last this long are not repeated.
const LONG: Duration = Duration::from_millis(20);

/// Extents that are tried, one after another, where the signature leaves them open: an image model may refuse an image
/// of one pixel.
const FREE: [i64; 4] = [1, 16, 64, 224];

/// Lengths of the two texts that padding is tried with.
const LENGTHS: [i64; 2] = [3, 5];

/// Rows that a batch is timed with.
const TIMED_ROWS: usize = 8;

/// A batch is of use to a tiny model where it saves each row more than this, which is what the way to another thread and
/// back costs.
pub(super) const HANDOVER: Duration = Duration::from_micros(10);

/// Only models whose runs are shorter ever run on their caller's thread, so that the choice matters.
const TINY: Duration = Duration::from_millis(1);

/// How much two runs of the same row may differ, as a share of the tensor's largest value: kernels sum in another order
/// for another number of rows.
const TOLERANCE: f64 = 1e-3;
const TOLERANCE_OF_HALVES: f64 = 2e-2;

/// What was learned.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Time of a run of one row; none where the model could not be tried.
    pub(super) run: Option<Duration>,
    /// Where the rows are, or why no requests merge; none where the manifest does not ask for it.
    pub(super) layout: Option<Result<Layout, String>>,
    /// Batches save more time than the way to another thread and back costs.
    pub(super) batches_pay: bool,
    /// A row that the model takes.
    pub(super) row: Option<Vec<Tensor>>,
}

/// A model that is tried.
pub(super) struct Trial<'a> {
    pub(super) session: &'a mut dyn Backend,
    pub(super) watch: &'a Watch,
    pub(super) signature: &'a Signature,
    pub(super) batching: &'a Batching,
}

impl Trial<'_> {
    /// Warms the model up, measures it and learns how it batches. A model that can't take made-up inputs (its graph may ask
    /// for more than its signature says) is not at fault.
    ///
    /// # Errors
    /// Where the manifest names tensors or axes that the model has not.
    pub(super) fn run(mut self) -> Result<Learned, BackendError> {
        let batches = self.batching.max_batch_size > 1;
        let rows_at = rows_at(self.signature, &self.batching.axes)?;
        let ragged = if batches { ragged(self.signature, self.batching, &rows_at)? } else { None };
        let mask = self.batching.ragged.as_ref().map(|ragged| ragged.mask.as_str());
        let mut sample = Sample { rows_at: &rows_at, ragged: ragged.as_ref(), mask, free: 1, length: LENGTHS[0], seed: None };
        let mut learned = Learned::default();
        let mut refused = "its inputs would be too large".to_owned();
        for free in FREE {
            sample.free = free;
            let Some(inputs) = sample.row(self.signature) else { break };
            match self.time(&inputs) {
                Ok(run) => {
                    learned.run = Some(run);
                    break;
                }
                Err(error) => refused = error.to_string(),
            }
        }
        if learned.run.is_some() {
            learned.row = Sample { seed: Some(1), ..sample }.row(self.signature);
        }
        if !batches {
            return Ok(learned);
        }
        let layout = match learned.run {
            Some(_) => self.layout(sample),
            None => declared(self.signature, &rows_at, self.batching, ragged.as_ref())
                .ok_or_else(|| format!("it can't be tried ({refused}): name the axes of all inputs and outputs in `batching.axes`")),
        };
        if let (Ok(layout), Some(run)) = (&layout, learned.run.filter(|run| *run < TINY)) {
            learned.batches_pay = self.saving(layout, learned.row.as_deref(), run).is_some_and(|saving| saving > HANDOVER);
        }
        learned.layout = Some(layout);
        Ok(learned)
    }

    fn once(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        self.watch.run([], Some(clock::now() + TRIAL_AT_MOST), |stop| self.session.outputs(inputs, stop))
    }

    /// The shortest of some runs.
    fn time(&mut self, inputs: &[Tensor]) -> Result<Duration, BackendError> {
        let mut best = Duration::MAX;
        for _ in 0..TRIALS {
            let start = clock::now();
            self.once(inputs)?;
            best = best.min(start.elapsed());
            if best > LONG {
                break;
            }
        }
        Ok(best)
    }

    /// Runs one row, another, and both together.
    fn layout(&mut self, sample: Sample<'_>) -> Result<Layout, String> {
        if !sample.rows_at.iter().any(|rows| matches!(rows, Rows::Along { .. })) {
            return Err("no input has an axis whose extent is open".to_owned());
        }
        let row = |length: i64, seed| Sample { length, seed: Some(seed), ..sample }.row(self.signature).ok_or("its inputs would be too large");
        let [one, other, short] = [row(LENGTHS[1], 1)?, row(LENGTHS[1], 2)?, row(LENGTHS[0], 3)?];
        let refused = |error: BackendError| format!("a run on made-up inputs failed: {error}");
        let alone = self.once(&one).map_err(refused)?;
        let mut layout = Layout { inputs: sample.rows_at.to_vec(), outputs: Vec::new(), ragged: None };
        let together = self.once(&gathered(&layout, self.signature, &[&one, &other])?).map_err(refused)?;
        for (one, two) in alone.iter().zip(&together) {
            layout.outputs.push(output_rows(one, two, self.batching.axes.get(&one.name))?);
        }
        if let Some(ragged) = sample.ragged {
            let shorter = self.once(&short).map_err(refused)?;
            let mut lengths = Vec::with_capacity(alone.len());
            for ((long, short), rows) in alone.iter().zip(&shorter).zip(&layout.outputs) {
                lengths.push(axis_of_length(long, short, *rows)?);
            }
            layout.ragged = Some(Ragged { outputs: lengths, ..ragged.clone() });
        }
        // Who names axes knows the model, or takes what batching does to its numbers; not to its shapes.
        let partner = if sample.ragged.is_some() { &short } else { &other };
        self.compare(&layout, &one, partner, self.batching.axes.is_empty())?;
        Ok(layout)
    }

    /// Holds what two rows give together against what they give alone.
    fn compare(&mut self, layout: &Layout, one: &[Tensor], other: &[Tensor], numbers: bool) -> Result<(), String> {
        let mut merged = Merged::default();
        let _ = merged.gather(layout, self.signature, &[(one, 1), (other, 1)]);
        let mut split = merged.split(layout);
        let ran = self.watch.run([], Some(clock::now() + TRIAL_AT_MOST), |stop| {
            self.session.run(merged.tensors(), stop, &mut |view| split.take(view).map_err(BackendError::Refused))
        });
        ran.map_err(|error| format!("a run of two rows failed: {error}"))?;
        for (inputs, together) in [one, other].into_iter().zip(split.finish().0) {
            let alone = self.once(inputs).map_err(|error| format!("a run of one row failed: {error}"))?;
            if let Some((output, cut)) = alone.iter().zip(&together).find(|(alone, together)| alone.shape != together.shape) {
                let (name, expected, got) = (&output.name, &output.shape, &cut.shape);
                return Err(format!("output `{name}` of a row has the shape {expected:?} alone, and {got:?} when another row is in the batch"));
            }
            if let Some((output, _)) = alone.iter().zip(&together).find(|(alone, together)| numbers && !is_close(alone, together)) {
                return Err(format!(
                    "rows influence each other: output `{}` of a row differs when another row is in the batch; name the axes in `batching.axes` if that does not matter",
                    output.name
                ));
            }
        }
        Ok(())
    }

    /// What a batch saves each row.
    fn saving(&mut self, layout: &Layout, row: Option<&[Tensor]>, run: Duration) -> Option<Duration> {
        let rows = TIMED_ROWS.min(usize::try_from(self.batching.max_batch_size).ok()?);
        let batch = gathered(layout, self.signature, &vec![row?; rows]).ok()?;
        let together = self.time(&batch).ok()?;
        run.checked_sub(together / u32::try_from(rows).ok()?)
    }
}

/// Rows as one batch.
pub(super) fn gathered(layout: &Layout, signature: &Signature, rows: &[&[Tensor]]) -> Result<Vec<Tensor>, String> {
    for row in rows {
        if layout.share(signature, row).map_err(|error| error.to_string())? == Share::ALONE || !layout.merges(signature, rows[0], row) {
            return Err("two rows of its inputs don't merge: name their axes in `batching.axes`".to_owned());
        }
    }
    let rows: Vec<_> = rows.iter().map(|row| (*row, 1)).collect();
    let mut merged = Merged::default();
    let _ = merged.gather(layout, signature, &rows);
    Ok(merged.tensors().to_vec())
}

/// Where the inputs' rows are: as the manifest says, or else along the axis that has the batch's name, or is open.
fn rows_at(signature: &Signature, axes: &BTreeMap<String, BatchAxis>) -> Result<Vec<Rows>, BackendError> {
    let ports = || signature.inputs.iter().chain(&signature.outputs);
    for (name, axis) in axes {
        let port = ports().find(|port| port.name == *name);
        let has = port.is_some_and(|port| match (axis, &port.shape) {
            (BatchAxis::At(axis), Some(shape)) => (*axis as usize) < shape.len(),
            _ => true,
        });
        if !has {
            let shapes: Vec<_> = ports().map(|port| format!("`{}` {:?}", port.name, port.shape.as_deref().unwrap_or_default())).collect();
            let message = format!("the model has no tensor of this name, or not so many axes: it has {}", shapes.join(", "));
            return Err(BackendError::Manifest { pointer: format!("/batching/axes/{name}"), message });
        }
    }
    let is_open = |port: &Port, axis: usize| port.shape.as_ref().is_some_and(|shape| shape.get(axis) == Some(&-1));
    let named = signature.inputs.iter().find(|port| !port.optional && is_open(port, 0)).and_then(|port| port.symbols.first());
    let named = named.filter(|symbol| !symbol.is_empty());
    let rows = signature.inputs.iter().map(|port| {
        let axis = match axes.get(&port.name) {
            Some(BatchAxis::At(axis)) => Some(*axis as usize),
            Some(BatchAxis::Shared) => None,
            None if port.optional => None,
            None => {
                let by_name = named.and_then(|named| port.symbols.iter().position(|symbol| symbol == named));
                let mut open = (0..port.shape.as_ref().map_or(0, Vec::len)).filter(|axis| is_open(port, *axis));
                by_name.or_else(|| match (open.next(), open.next()) {
                    (Some(0), _) => Some(0),
                    (only, None) => only,
                    _ => None,
                })
            }
        };
        axis.map_or(Rows::Shared, |axis| Rows::Along { axis, per_row: 1 })
    });
    Ok(rows.collect())
}

fn ragged(signature: &Signature, batching: &Batching, rows_at: &[Rows]) -> Result<Option<Ragged>, BackendError> {
    let Some(wanted) = &batching.ragged else { return Ok(None) };
    let mut padding = vec![None; signature.inputs.len()];
    let pads = wanted.pad.iter().map(|(name, value)| (name, *value, format!("/batching/ragged/pad/{name}")));
    for (name, value, pointer) in pads.chain([(&wanted.mask, 0, "/batching/ragged/mask".to_owned())]) {
        let refuse = |message: String| BackendError::Manifest { pointer: pointer.clone(), message };
        let Some((at, port)) = signature.inputs.iter().enumerate().find(|(_, port)| port.name == *name) else {
            return Err(refuse(format!("the model has no input `{name}`")));
        };
        let axis = wanted.axis as usize;
        if axis == 0 || !matches!(rows_at[at], Rows::Along { axis: 0, .. }) || port.shape.as_ref().is_some_and(|shape| shape.get(axis) != Some(&-1)) {
            let shape = port.shape.as_deref().unwrap_or_default();
            return Err(refuse(format!(
                "input `{name}` of shape {shape:?} can't be padded along axis {axis}: its rows must be along axis 0, and that axis open"
            )));
        }
        let element = element(port.datatype, value).ok_or_else(|| refuse(format!("{value} is no element of type {}", port.datatype)))?;
        padding[at] = Some(element);
    }
    Ok(Some(Ragged { axis: wanted.axis as usize, padding, outputs: Vec::new() }))
}

/// The layout of a model that can't be tried, where the manifest tells all of it.
fn declared(signature: &Signature, rows_at: &[Rows], batching: &Batching, ragged: Option<&Ragged>) -> Option<Layout> {
    let named = |port: &Port| port.optional || batching.axes.contains_key(&port.name);
    if ragged.is_some() || !signature.inputs.iter().all(named) {
        return None;
    }
    let outputs = signature.outputs.iter().map(|port| match batching.axes.get(&port.name)? {
        BatchAxis::At(axis) => Some(Rows::Along { axis: *axis as usize, per_row: 1 }),
        BatchAxis::Shared => Some(Rows::Shared),
    });
    Some(Layout { inputs: rows_at.to_vec(), outputs: outputs.collect::<Option<_>>()?, ragged: None })
}

/// Where an output's rows are: along the axis that is twice as long for two rows.
fn output_rows(one: &Tensor, two: &Tensor, axis: Option<&BatchAxis>) -> Result<Rows, String> {
    let unclear = || {
        format!(
            "output `{}` has the shape {:?} for one row and {:?} for two: name the axis of its rows in `batching.axes`",
            one.name, one.shape, two.shape
        )
    };
    if one.shape.len() != two.shape.len() {
        return Err(unclear());
    }
    let grown: Vec<usize> = (0..one.shape.len()).filter(|axis| one.shape[*axis] != two.shape[*axis]).collect();
    match (axis, grown.as_slice()) {
        (Some(BatchAxis::Shared), []) => Ok(Rows::Shared),
        // That the numbers of these two rows are equal says nothing of others.
        (None, []) => Err(format!(
            "output `{0}` has the shape {1:?} for one row and for two: where all rows have it in common, say `{0} = \"none\"` in `batching.axes`",
            one.name, one.shape
        )),
        (None | Some(BatchAxis::At(_)), [grown]) => {
            let doubled = two.shape[*grown] == 2 * one.shape[*grown];
            let agrees = !matches!(axis, Some(BatchAxis::At(axis)) if *axis as usize != *grown);
            // Strings vary in length, so that only whole rows of them can be cut.
            let cuttable = *grown == 0 || one.datatype != Datatype::Bytes;
            let per_row = usize::try_from(one.shape[*grown]).ok().filter(|per_row| *per_row > 0 && doubled && agrees && cuttable);
            per_row.map(|per_row| Rows::Along { axis: *grown, per_row }).ok_or_else(unclear)
        }
        _ => Err(unclear()),
    }
}

/// The axis of an output that has the length of the inputs, where there is one.
fn axis_of_length(long: &Tensor, short: &Tensor, rows: Rows) -> Result<Option<usize>, String> {
    let differ: Vec<usize> = (0..long.shape.len().max(short.shape.len())).filter(|at| long.shape.get(*at) != short.shape.get(*at)).collect();
    match differ.as_slice() {
        [] => Ok(None),
        [axis] if (short.shape[*axis], long.shape[*axis]) == (LENGTHS[0], LENGTHS[1]) && *axis > 0 && matches!(rows, Rows::Along { axis: 0, .. }) => {
            Ok(Some(*axis))
        }
        _ => Err(format!(
            "output `{}` has the shape {:?} for inputs of the length {}, and {:?} for {}: it can't be cut to the length of each request",
            long.name, short.shape, LENGTHS[0], long.shape, LENGTHS[1]
        )),
    }
}

fn is_close(one: &Tensor, other: &Tensor) -> bool {
    let (numbers, tolerance): (fn(&Tensor) -> Vec<f64>, f64) = match one.datatype {
        Datatype::Fp32 => {
            (|tensor| tensor.data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(), TOLERANCE)
        }
        Datatype::Fp64 => (|tensor| tensor.data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect(), TOLERANCE),
        Datatype::Fp16 => {
            (|tensor| tensor.data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(), TOLERANCE_OF_HALVES)
        }
        Datatype::Bf16 => {
            (|tensor| tensor.data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(), TOLERANCE_OF_HALVES)
        }
        _ => return one == other,
    };
    if one.shape != other.shape {
        return false;
    }
    let (one, other) = (numbers(one), numbers(other));
    let largest = one.iter().filter(|number| number.is_finite()).fold(0.0f64, |largest, number| largest.max(number.abs()));
    let near = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * largest;
    one.iter().zip(&other).all(|(a, b)| near(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::tensor;
    use super::*;

    fn port(name: &str, shape: &[i64], symbols: &[&str]) -> Port {
        let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        Port { name: name.to_owned(), datatype: Datatype::Fp32, shape: Some(shape.to_vec()), optional: false, symbols }
    }

    #[test]
    fn rows_are_found_by_name_or_where_an_axis_is_open() {
        let along = |axis| Rows::Along { axis, per_row: 1 };
        for (name, ports, expected) in [
            ("first", vec![port("x", &[-1, 4], &[])], vec![along(0)]),
            ("by name", vec![port("x", &[-1, -1], &["N", "T"]), port("state", &[2, -1, 8], &["", "N", ""])], vec![along(0), along(1)]),
            ("by name before the first", vec![port("x", &[-1, 4], &["N", ""]), port("t", &[-1, -1], &["T", "N"])], vec![along(0), along(1)]),
            ("the only open one", vec![port("x", &[-1, 4], &[]), port("state", &[2, -1, 8], &[])], vec![along(0), along(1)]),
            ("none", vec![port("x", &[-1, 4], &[]), port("rate", &[], &[]), port("fixed", &[3], &[])], vec![along(0), Rows::Shared, Rows::Shared]),
        ] {
            let signature = Signature { inputs: ports, outputs: Vec::new() };
            assert_eq!(rows_at(&signature, &BTreeMap::new()).unwrap(), expected, "{name}");
        }
        let signature = Signature { inputs: vec![port("x", &[-1, 4], &[])], outputs: Vec::new() };
        let named = |name: &str, axis| BTreeMap::from([(name.to_owned(), axis)]);
        assert_eq!(rows_at(&signature, &named("x", BatchAxis::At(1))).unwrap(), [along(1)]);
        assert_eq!(rows_at(&signature, &named("x", BatchAxis::Shared)).unwrap(), [Rows::Shared]);
        for bad in [named("y", BatchAxis::Shared), named("x", BatchAxis::At(2))] {
            let error = rows_at(&signature, &bad).unwrap_err().to_string();
            assert!(error.contains("the model has no tensor of this name, or not so many axes: it has `x` [-1, 4]"), "{error}");
        }
    }

    #[test]
    fn outputs_are_found_by_what_two_rows_double() {
        let at = |shape: &[i64]| tensor("y", shape, &vec![1.0; shape.iter().product::<i64>() as usize]);
        let rows = |one: &[i64], two: &[i64], axis: Option<BatchAxis>| output_rows(&at(one), &at(two), axis.as_ref());
        assert_eq!(rows(&[1, 4], &[2, 4], None), Ok(Rows::Along { axis: 0, per_row: 1 }));
        assert_eq!(rows(&[2, 1], &[2, 2], None), Ok(Rows::Along { axis: 1, per_row: 1 }));
        assert_eq!(rows(&[3, 4], &[6, 4], None), Ok(Rows::Along { axis: 0, per_row: 3 }));
        assert!(rows(&[4], &[4], None).unwrap_err().contains("`y = \"none\"` in `batching.axes`"), "numbers may be equal by chance");
        assert_eq!(rows(&[4], &[4], Some(BatchAxis::Shared)), Ok(Rows::Shared));
        assert!(rows(&[1, 1], &[2, 2], None).is_err(), "pairs of rows");
        assert!(rows(&[0, 4], &[0, 4], None).is_err(), "as many as are found");
        assert!(rows(&[2], &[3], None).is_err());
        assert!(rows(&[1], &[2], Some(BatchAxis::Shared)).is_err());
        let sums = output_rows(&tensor("y", &[1], &[1.0]), &tensor("y", &[1], &[2.0]), None);
        assert!(sums.unwrap_err().contains("output `y` has the shape [1] for one row and for two"));
    }

    #[test]
    fn close_is_relative_to_the_largest() {
        let at = |values: &[f32]| tensor("y", &[2], values);
        assert!(is_close(&at(&[1000.0, 0.0]), &at(&[1000.5, 0.5])));
        assert!(!is_close(&at(&[1.0, 0.0]), &at(&[1.0, 0.5])));
        assert!(is_close(&at(&[f32::NAN, 1.0]), &at(&[f32::NAN, 1.0])));
        assert!(!is_close(&at(&[f32::NAN, 1.0]), &at(&[0.0, 1.0])));
    }
}
