//! ONNX files made to order: distinct bytes of the same model, and models as large as a test wants them.

/// The same model with other bytes: protobuf lets a later field win, here the model's `doc_string`.
#[must_use]
pub fn with_note(model: &[u8], note: &str) -> Vec<u8> {
    let mut bytes = model.to_vec();
    text(&mut bytes, 6, note);
    bytes
}

/// x FP32 [-1, `extent`] -> y = x · w, where w has `extent` rows and columns and is `factor` times the identity.
#[must_use]
pub fn scaled_identity(extent: u32, factor: f32) -> Vec<u8> {
    let size = extent as usize;
    let mut weights = vec![0u8; size * size * 4];
    for at in 0..size {
        weights[(at * size + at) * 4..][..4].copy_from_slice(&factor.to_le_bytes());
    }
    let mut node = Vec::new();
    text(&mut node, 1, "x");
    text(&mut node, 1, "w");
    text(&mut node, 2, "y");
    text(&mut node, 4, "MatMul");
    let mut initializer = Vec::new();
    number(&mut initializer, 1, extent.into());
    number(&mut initializer, 1, extent.into());
    number(&mut initializer, 2, FLOAT);
    text(&mut initializer, 8, "w");
    field(&mut initializer, 9, &weights);
    let mut graph = Vec::new();
    field(&mut graph, 1, &node);
    text(&mut graph, 2, "scaled_identity");
    field(&mut graph, 5, &initializer);
    field(&mut graph, 11, &value("x", extent));
    field(&mut graph, 12, &value("y", extent));
    let mut opset = Vec::new();
    number(&mut opset, 2, 17);
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    field(&mut model, 7, &graph);
    field(&mut model, 8, &opset);
    model
}

/// ONNX's number for FP32.
const FLOAT: u64 = 1;

/// A `ValueInfoProto` of shape [batch, extent].
fn value(name: &str, extent: u32) -> Vec<u8> {
    let (mut batch, mut width) = (Vec::new(), Vec::new());
    text(&mut batch, 2, "batch");
    number(&mut width, 1, extent.into());
    let mut shape = Vec::new();
    field(&mut shape, 1, &batch);
    field(&mut shape, 1, &width);
    let mut tensor = Vec::new();
    number(&mut tensor, 1, FLOAT);
    field(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    field(&mut kind, 1, &tensor);
    let mut value = Vec::new();
    text(&mut value, 1, name);
    field(&mut value, 2, &kind);
    value
}

fn number(out: &mut Vec<u8>, tag: u64, value: u64) {
    varint(out, tag << 3);
    varint(out, value);
}

fn text(out: &mut Vec<u8>, tag: u64, value: &str) {
    field(out, tag, value.as_bytes());
}

fn field(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    varint(out, tag << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
