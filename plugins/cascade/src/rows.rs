//! Rows of tensors whose first axis counts them.

use bulkhead_sdk::prelude::*;

/// These rows of each tensor; what is `common` to all rows, or has another first axis, stays whole.
pub(crate) fn picked(tensors: &Tensors, rows: usize, wanted: &[usize], common: &[String]) -> Result<Vec<Tensor>> {
    tensors
        .iter()
        .map(|tensor| {
            let has_rows = !common.iter().any(|name| name == tensor.name());
            let Some(bytes) = row_bytes(tensor, rows).filter(|_| has_rows) else { return Ok(tensor.clone()) };
            let mut data = Vec::with_capacity(wanted.len() * bytes);
            for at in wanted {
                data.extend_from_slice(&tensor.bytes()[at * bytes..(at + 1) * bytes]);
            }
            let mut shape = tensor.shape().to_vec();
            shape[0] = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
            Tensor::from_bytes(tensor.name(), tensor.datatype(), &shape, data)
        })
        .collect()
}

/// Puts rows in the places of others, in every tensor that `better` has too.
pub(crate) fn put(tensors: &mut Tensors, rows: usize, places: &[usize], better: &Tensors) -> Result<()> {
    for from in better.iter() {
        let Ok(to) = tensors.get_mut(from.name()) else { continue };
        let (Some(bytes), Some(found)) = (row_bytes(to, rows), row_bytes(from, places.len())) else { continue };
        if bytes != found || to.datatype() != from.datatype() {
            let (name, to, from) = (from.name(), to.shape(), from.shape());
            return Err(Error::internal(format!("the models disagree about output `{name}`: `small` gives {to:?}, `big` gives {from:?}")));
        }
        for (at, place) in places.iter().enumerate() {
            to.bytes_mut()[place * bytes..(place + 1) * bytes].copy_from_slice(&from.bytes()[at * bytes..(at + 1) * bytes]);
        }
    }
    Ok(())
}

/// Bytes of a row, where the first axis counts so many; none where it counts something else.
fn row_bytes(tensor: &Tensor, rows: usize) -> Option<usize> {
    let counts = tensor.shape().first().is_some_and(|first| usize::try_from(*first) == Ok(rows));
    (counts && rows > 0 && tensor.datatype() != Datatype::Bytes).then(|| tensor.bytes().len() / rows)
}
