//! Many requests' tensors as one, and one run's tensors as many: a copy each, whatever the axis of the rows.

use std::borrow::Cow;
use std::time::Instant;

use super::layout::{Layout, Ragged, Rows, each};
use crate::clock;
use crate::runner::Signature;
use crate::tensor::{self, Datatype, Tensor};

/// A tensor that a runtime gives: borrowed from it where the bytes can be.
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: Datatype,
    pub(super) shape: &'a [i64],
    pub(super) data: Cow<'a, [u8]>,
}

impl From<View<'_>> for Tensor {
    fn from(view: View<'_>) -> Self {
        Self { name: view.name.to_owned(), datatype: view.datatype, shape: view.shape.to_vec(), data: view.data.into_owned() }
    }
}

impl<'a> From<&'a Tensor> for View<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { name: &tensor.name, datatype: tensor.datatype, shape: &tensor.shape, data: Cow::Borrowed(&tensor.data) }
    }
}

/// Bytes of merged inputs that stay reserved between two batches: fresh memory costs a page fault every 4 KiB.
const KEPT_BYTES: usize = 64 << 20;

/// A padded batch may have so many times the bytes of its requests; beyond it they run one by one. Arbitrary: texts of one
/// length and of a quarter of it, half and half, stay below.
const PADDED_AT_MOST: usize = 4;

/// Whether padding keeps within its bound: one long text among many rows would make a batch of any size.
fn worth_padding(requests: &[(&[Tensor], usize)], parts: &[Part], longest: usize) -> bool {
    let mut bytes = 0usize;
    let mut padded = 0usize;
    for ((inputs, _), part) in requests.iter().zip(parts) {
        let own: usize = inputs.iter().map(|input| input.data.len()).sum();
        bytes = bytes.saturating_add(own);
        padded = padded.saturating_add(own.saturating_mul(longest).checked_div(part.length.unwrap_or(longest)).unwrap_or(usize::MAX));
    }
    padded <= bytes.saturating_mul(PADDED_AT_MOST).max(KEPT_BYTES)
}

/// One request's part of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) rows: usize,
    /// Of its ragged inputs.
    pub(super) length: Option<usize>,
}

/// Merged inputs. Their memory is used again for the next batch.
#[derive(Default)]
pub(super) struct Merged {
    tensors: Vec<Tensor>,
    parts: Vec<Part>,
}

impl Merged {
    /// Merges requests that [`Layout::merges`] says may be; their inputs stand in the order of the signature. False, and
    /// nothing is merged, where padding would make far more of them than they are.
    pub(super) fn gather(&mut self, layout: &Layout, signature: &Signature, requests: &[(&[Tensor], usize)]) -> bool {
        self.parts.clear();
        self.parts.extend(requests.iter().map(|(inputs, rows)| Part { rows: *rows, length: layout.length(signature, inputs) }));
        let rows = self.rows();
        let longest = self.parts.iter().filter_map(|part| part.length).max().unwrap_or(0);
        let Some((first, _)) = requests.first() else { return false };
        if layout.ragged.is_some() && !worth_padding(requests, &self.parts, longest) {
            return false;
        }
        if self.tensors.len() != first.len() {
            let empty = |input: &Tensor| Tensor { name: input.name.clone(), datatype: input.datatype, shape: Vec::new(), data: Vec::new() };
            self.tensors = first.iter().map(empty).collect();
        }
        for (place, (at, model)) in each(signature, first).enumerate() {
            let into = &mut self.tensors[place];
            into.name.clone_from(&model.name);
            into.datatype = model.datatype;
            into.shape.clone_from(&model.shape);
            into.data.clear();
            let Rows::Along { axis, .. } = layout.inputs[at] else {
                into.data.extend_from_slice(&model.data);
                continue;
            };
            into.shape[axis] = extent(rows);
            let sources = requests.iter().map(|(inputs, _)| &inputs[place]);
            match layout.ragged.as_ref().and_then(|ragged| Some((ragged.axis, ragged.padding[at].as_deref()?))) {
                Some((ragged, padding)) => {
                    into.shape[ragged] = extent(longest);
                    for source in sources {
                        pad(&mut into.data, source, ragged, longest, padding);
                    }
                }
                None => join(&mut into.data, &model.shape[..axis], sources),
            }
        }
        true
    }

    /// Gives memory back that is more than what stays reserved.
    pub(super) fn trim(&mut self) {
        if self.tensors.iter().map(|tensor| tensor.data.capacity()).sum::<usize>() > KEPT_BYTES {
            self.tensors.clear();
        }
    }

    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Of the batch.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// What takes the outputs of its run apart.
    pub(super) fn split<'a>(&'a self, layout: &'a Layout) -> Split<'a> {
        let outputs = self.parts.iter().map(|_| Vec::with_capacity(layout.outputs.len())).collect();
        Split { layout, parts: &self.parts, rows: self.rows(), at: 0, outputs, began: None }
    }
}

/// Appends tensors along an axis behind the extents `outer`, which all of them have.
fn join<'a>(into: &mut Vec<u8>, outer: &[i64], sources: impl Iterator<Item = &'a Tensor> + Clone) {
    let blocks = tensor::elements(outer).unwrap_or(0);
    for block in 0..blocks {
        for source in sources.clone() {
            let size = source.data.len() / blocks;
            into.extend_from_slice(&source.data[block * size..][..size]);
        }
    }
}

/// Appends a tensor, with its extent along `axis` made `longest` by padding.
fn pad(into: &mut Vec<u8>, source: &Tensor, axis: usize, longest: usize, padding: &[u8]) {
    let length = usize::try_from(source.shape[axis]).unwrap_or(0);
    let outer = tensor::elements(&source.shape[..axis]).unwrap_or(0);
    let inner = tensor::elements(&source.shape[axis + 1..]).unwrap_or(0);
    let size = length * inner * padding.len();
    for block in 0..outer {
        into.extend_from_slice(&source.data[block * size..][..size]);
        for _ in 0..(longest - length) * inner {
            into.extend_from_slice(padding);
        }
    }
}

/// Takes the outputs of a batch apart.
pub(super) struct Split<'a> {
    layout: &'a Layout,
    parts: &'a [Part],
    rows: usize,
    at: usize,
    outputs: Vec<Vec<Tensor>>,
    began: Option<Instant>,
}

impl Split<'_> {
    /// The next output, in the order of the signature.
    ///
    /// # Errors
    /// Where its shape is not that of so many rows.
    pub(super) fn take(&mut self, view: View<'_>) -> Result<(), String> {
        self.began.get_or_insert_with(clock::now);
        let rows = self.layout.outputs.get(self.at).copied().unwrap_or(Rows::Shared);
        let ragged = self.layout.ragged.as_ref().and_then(|ragged| self.axis_of_length(ragged));
        self.at += 1;
        let Rows::Along { axis, per_row } = rows else {
            let tensor = Tensor::from(view);
            for outputs in &mut self.outputs {
                outputs.push(tensor.clone());
            }
            return Ok(());
        };
        if view.shape.get(axis) != Some(&extent(self.rows * per_row)) {
            return Err(format!("output `{}` has the shape {:?} for a batch of {} rows", view.name, view.shape, self.rows));
        }
        if let Some(place) = ragged {
            return self.crop(&view, per_row, place);
        }
        // What is empty may have any number of empty pieces.
        let blocks = if view.data.is_empty() { 0 } else { tensor::elements(&view.shape[..axis]).unwrap_or(0) };
        match view.datatype.size() {
            Some(size) => self.cut(&view, axis, per_row, blocks, size),
            None => self.cut_strings(&view, axis, per_row)?,
        }
        Ok(())
    }

    fn axis_of_length(&self, ragged: &Ragged) -> Option<usize> {
        ragged.outputs.get(self.at).copied().flatten()
    }

    fn cut(&mut self, view: &View<'_>, axis: usize, per_row: usize, blocks: usize, size: usize) {
        let inner = tensor::elements(&view.shape[axis + 1..]).unwrap_or(0) * size;
        let stride = self.rows * per_row * inner;
        let mut from = 0;
        for (part, outputs) in self.parts.iter().zip(&mut self.outputs) {
            let length = part.rows * per_row * inner;
            let mut data = Vec::with_capacity(blocks * length);
            for block in 0..blocks {
                data.extend_from_slice(&view.data[block * stride + from..][..length]);
            }
            from += length;
            outputs.push(part_of(view, axis, part.rows * per_row, data));
        }
    }

    fn cut_strings(&mut self, view: &View<'_>, axis: usize, per_row: usize) -> Result<(), String> {
        let inner = tensor::elements(&view.shape[axis + 1..]).unwrap_or(0);
        let strings = tensor::byte_strings(&view.data).filter(|_| axis == 0);
        let mut strings = strings.ok_or_else(|| format!("output `{}` can't be taken apart", view.name))?.into_iter();
        for (part, outputs) in self.parts.iter().zip(&mut self.outputs) {
            let mut data = Vec::new();
            for string in strings.by_ref().take(part.rows * per_row * inner) {
                // It was shorter than 4 GiB when it came in.
                let _ = tensor::push_byte_string(&mut data, string);
            }
            outputs.push(part_of(view, axis, part.rows * per_row, data));
        }
        Ok(())
    }

    /// Cuts rows along axis 0, each to its request's own length along another.
    fn crop(&mut self, view: &View<'_>, per_row: usize, place: usize) -> Result<(), String> {
        let longest = self.parts.iter().filter_map(|part| part.length).max().unwrap_or(0);
        let size = view.datatype.size().filter(|_| view.shape.get(place) == Some(&extent(longest)));
        let size = size.ok_or_else(|| format!("output `{}` has the shape {:?} for inputs of the length {longest}", view.name, view.shape))?;
        let inner = tensor::elements(&view.shape[place + 1..]).unwrap_or(0) * size;
        let between = tensor::elements(&view.shape[1..place]).unwrap_or(0);
        let mut block = 0;
        for (part, outputs) in self.parts.iter().zip(&mut self.outputs) {
            let own = part.length.unwrap_or(longest);
            let blocks = if view.data.is_empty() { 0 } else { part.rows * per_row * between };
            let mut data = Vec::with_capacity(blocks * own * inner);
            for at in block..block + blocks {
                data.extend_from_slice(&view.data[at * longest * inner..][..own * inner]);
            }
            block += blocks;
            let mut tensor = part_of(view, 0, part.rows * per_row, data);
            tensor.shape[place] = extent(own);
            outputs.push(tensor);
        }
        Ok(())
    }

    /// The outputs of each request, and the moment at which the first came.
    pub(super) fn finish(self) -> (Vec<Vec<Tensor>>, Option<Instant>) {
        (self.outputs, self.began)
    }
}

fn part_of(view: &View<'_>, axis: usize, rows: usize, data: Vec<u8>) -> Tensor {
    let mut shape = view.shape.to_vec();
    shape[axis] = extent(rows);
    Tensor { name: view.name.to_owned(), datatype: view.datatype, shape, data }
}

fn extent(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::layout::element;
    use super::super::layout::tests::{signature, tensor};
    use super::*;

    fn along(axis: usize) -> Rows {
        Rows::Along { axis, per_row: 1 }
    }

    /// Merges requests and takes apart what would come out of a model that gives back what it is given.
    fn there_and_back(layout: &Layout, signature: &Signature, requests: &[(Vec<Tensor>, usize)]) -> (Vec<Tensor>, Vec<Vec<Tensor>>) {
        let requests: Vec<_> = requests.iter().map(|(inputs, rows)| (inputs.as_slice(), *rows)).collect();
        let mut merged = Merged::default();
        assert!(merged.gather(layout, signature, &requests));
        let mut split = merged.split(layout);
        for tensor in merged.tensors() {
            tensor.check().unwrap();
            split.take(tensor.into()).unwrap();
        }
        (merged.tensors().to_vec(), split.finish().0)
    }

    #[test]
    fn rows_along_any_axis_come_back_as_they_went() {
        let signature = signature(&["x", "state", "rate"], &["x", "state", "rate"]);
        let layout = Layout { inputs: vec![along(0), along(1), Rows::Shared], outputs: vec![along(0), along(1), Rows::Shared], ragged: None };
        let request = |rows: i64, from: f32| {
            let numbers = |count: i64| (0..count).map(|n| from + n as f32).collect::<Vec<_>>();
            vec![tensor("x", &[rows, 2], &numbers(rows * 2)), tensor("state", &[2, rows, 3], &numbers(rows * 6)), tensor("rate", &[], &[16.0])]
        };
        let requests = [(request(1, 0.0), 1), (request(3, 100.0), 3), (request(2, 1000.0), 2)];
        let (merged, back) = there_and_back(&layout, &signature, &requests);
        assert_eq!((merged[0].shape.as_slice(), merged[1].shape.as_slice()), (&[6, 2][..], &[2, 6, 3][..]));
        // The second half of the state begins with that of the first request.
        assert_eq!(merged[1].data[6 * 3 * 4..][..4], 3f32.to_le_bytes());
        for (at, (inputs, _)) in requests.iter().enumerate() {
            assert_eq!(&back[at], inputs);
        }
    }

    #[test]
    fn texts_are_padded_and_cropped() {
        let signature = signature(&["ids", "mask"], &["ids", "mask"]);
        let ragged = Ragged { axis: 1, padding: vec![element(Datatype::Fp32, 9), element(Datatype::Fp32, 0)], outputs: vec![Some(1), Some(1)] };
        let layout = Layout { inputs: vec![along(0); 2], outputs: vec![along(0); 2], ragged: Some(ragged) };
        let short = vec![tensor("ids", &[2, 1], &[1.0, 2.0]), tensor("mask", &[2, 1], &[1.0, 1.0])];
        let long = vec![tensor("ids", &[1, 3], &[3.0, 4.0, 5.0]), tensor("mask", &[1, 3], &[1.0; 3])];
        let (merged, back) = there_and_back(&layout, &signature, &[(short.clone(), 2), (long.clone(), 1)]);
        assert_eq!(merged[0], tensor("ids", &[3, 3], &[1.0, 9.0, 9.0, 2.0, 9.0, 9.0, 3.0, 4.0, 5.0]));
        assert_eq!(merged[1], tensor("mask", &[3, 3], &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]));
        assert_eq!(back, [short, long]);
    }

    #[test]
    fn padding_never_makes_a_batch_of_any_size() {
        let signature = signature(&["ids"], &["ids"]);
        let ragged = Ragged { axis: 1, padding: vec![element(Datatype::Fp32, 0)], outputs: vec![Some(1)] };
        let layout = Layout { inputs: vec![along(0)], outputs: vec![along(0)], ragged: Some(ragged) };
        let many = vec![tensor("ids", &[4000, 1], &[1.0; 4000])];
        let long = vec![tensor("ids", &[1, 1_000_000], &vec![1.0; 1_000_000])];
        assert!(!Merged::default().gather(&layout, &signature, &[(&many, 4000), (&long, 1)]));
    }

    #[test]
    fn several_places_for_a_row_and_strings() {
        let layout = Layout { inputs: vec![along(0)], outputs: vec![Rows::Along { axis: 0, per_row: 2 }, along(0)], ragged: None };
        let signature = signature(&["x"], &["pairs", "names"]);
        let request = |rows: i64| vec![tensor("x", &[rows], &vec![0.0; rows as usize])];
        let (one, two) = (request(1), request(2));
        let mut merged = Merged::default();
        assert!(merged.gather(&layout, &signature, &[(&one, 1), (&two, 2)]));
        let mut split = merged.split(&layout);
        let pairs = tensor("pairs", &[6], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let mut names = Vec::new();
        for name in ["a", "bc", ""] {
            tensor::push_byte_string(&mut names, name.as_bytes()).unwrap();
        }
        split.take((&pairs).into()).unwrap();
        split.take(View { name: "names", datatype: Datatype::Bytes, shape: &[3], data: Cow::Borrowed(&names) }).unwrap();
        let (parts, _) = split.finish();
        assert_eq!(parts[1][0], tensor("pairs", &[4], &[2.0, 3.0, 4.0, 5.0]));
        assert_eq!(tensor::byte_strings(&parts[1][1].data).unwrap(), [b"bc".as_slice(), b""]);
        let mut split = merged.split(&layout);
        let wrong = split.take(View { name: "pairs", datatype: Datatype::Fp32, shape: &[5], data: Cow::Borrowed(&pairs.data) });
        assert_eq!(wrong.unwrap_err(), "output `pairs` has the shape [5] for a batch of 3 rows");
    }
}
