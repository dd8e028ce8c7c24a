//! ONNX files made to order: distinct bytes of the same model, and models as large as a test wants them.

/// Datatypes by the names of the inference protocol, and ONNX's numbers for them; those that every client knows.
pub const TYPES: [(&str, u64); 13] = [
    ("BOOL", 9),
    ("UINT8", 2),
    ("UINT16", 4),
    ("UINT32", 12),
    ("UINT64", 13),
    ("INT8", 3),
    ("INT16", 5),
    ("INT32", 6),
    ("INT64", 7),
    ("FP16", 10),
    ("FP32", 1),
    ("FP64", 11),
    ("BYTES", 8),
];

/// x [-1] -> y, unchanged, of the type that ONNX has this number for.
#[must_use]
pub fn identity(element: u64) -> Vec<u8> {
    typed_model(("identity", element), &node("Identity", &["x"], "y", &[]), &[], &[])
}

/// `name` FP32 [-1,4] -> y, unchanged.
#[must_use]
pub fn named_identity(name: &str) -> Vec<u8> {
    let graph = node("Identity", &[name], "y", &[]);
    named_model(("identity", FLOAT), &graph, (name, &[4]), &[4])
}

/// x FP32 [-1,4096] -> y, all zero, by so many products with 64 MiB of weights each, which are made when the model is loaded.
/// No two have the same shape, or the runtime would make them once.
#[must_use]
pub fn hungry(products: u32) -> Vec<u8> {
    const EXTENT: u32 = 4096;
    let mut graph = Vec::new();
    for at in 0..products {
        let (from, to) = (EXTENT + at, EXTENT + at + 1);
        let mut shape = Vec::new();
        number(&mut shape, 1, 2);
        number(&mut shape, 2, INT64);
        text(&mut shape, 8, &format!("shape{at}"));
        field(&mut shape, 9, &[from, to].map(|extent| u64::from(extent).to_le_bytes()).concat());
        field(&mut graph, 5, &shape);
        graph.extend(node("ConstantOfShape", &[&format!("shape{at}")], &format!("w{at}"), &[]));
        let input = if at == 0 { "x".to_owned() } else { format!("h{at}") };
        let output = if at + 1 == products { "y".to_owned() } else { format!("h{}", at + 1) };
        graph.extend(node("MatMul", &[&input, &format!("w{at}")], &output, &[]));
    }
    model("hungry", &graph, &[EXTENT], &[EXTENT + products])
}

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
    let mut weights = vec![0.0; size * size];
    for at in 0..size {
        weights[at * size + at] = factor;
    }
    let graph = [node("MatMul", &["x", "w"], "y", &[]), initializer("w", &[extent, extent], &weights)].concat();
    model("scaled_identity", &graph, &[extent], &[extent])
}

/// x FP32 [-1, first] -> y FP32 [-1, last]: a dense layer between each width and the next, with a ReLU behind all but the
/// last. The weights differ, and hold their sums at the size of their inputs.
#[must_use]
pub fn dense(widths: &[u32]) -> Vec<u8> {
    let mut graph = Vec::new();
    let mut random = Random(1);
    let layers = widths.len() - 1;
    for at in 0..layers {
        let (from, to) = (widths[at], widths[at + 1]);
        let weights: Vec<f32> = (0..from * to).map(|_| random.next() / (from as f32).sqrt()).collect();
        let (input, weight) = (if at == 0 { "x".to_owned() } else { format!("h{at}") }, format!("w{at}"));
        graph.extend(initializer(&weight, &[from, to], &weights));
        if at + 1 == layers {
            graph.extend(node("MatMul", &[&input, &weight], "y", &[]));
        } else {
            graph.extend(node("MatMul", &[&input, &weight], &format!("m{at}"), &[]));
            graph.extend(node("Relu", &[&format!("m{at}")], &format!("h{}", at + 1), &[]));
        }
    }
    model("dense", &graph, &widths[..1], &widths[layers..])
}

/// x FP32 [-1,4] -> y FP32 [-1,4], numbers that differ in each run.
#[must_use]
pub fn dice() -> Vec<u8> {
    model("dice", &node("RandomUniformLike", &["x"], "y", &[]), &[4], &[4])
}

/// x FP32 [-1,3,`side`,`side`] -> y FP32 [-1,3,1,1], the mean of each channel: a model that does next to nothing with a
/// picture.
#[must_use]
pub fn mean_color(side: u32) -> Vec<u8> {
    model("mean_color", &node("GlobalAveragePool", &["x"], "y", &[]), &[3, side, side], &[3, 1, 1])
}

/// x FP32 [-1,3,`side`,`side`] -> y FP32 [-1,`channels`,1,1]: three convolutions of 3 by 3 and a mean. A single picture
/// keeps a processor as busy as many do.
#[must_use]
pub fn convolutions(side: u32, channels: u32) -> Vec<u8> {
    let mut graph = Vec::new();
    let mut random = Random(2);
    for (at, from) in [3, channels, channels].into_iter().enumerate() {
        let weights: Vec<f32> = (0..channels * from * 9).map(|_| random.next() / (9.0 * from as f32).sqrt()).collect();
        let (input, weight) = (if at == 0 { "x".to_owned() } else { format!("h{at}") }, format!("w{at}"));
        graph.extend(initializer(&weight, &[channels, from, 3, 3], &weights));
        graph.extend(node("Conv", &[&input, &weight], &format!("c{at}"), &[("pads", &[1, 1, 1, 1])]));
        graph.extend(node("Relu", &[&format!("c{at}")], &format!("h{}", at + 1), &[]));
    }
    graph.extend(node("GlobalAveragePool", &["h3"], "y", &[]));
    model("convolutions", &graph, &[3, side, side], &[channels, 1, 1])
}

/// Numbers between -1 and 1 that are always the same, by Knuth's linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn model(name: &str, graph: &[u8], x: &[u32], y: &[u32]) -> Vec<u8> {
    typed_model((name, FLOAT), graph, x, y)
}

fn typed_model(name: (&str, u64), graph: &[u8], x: &[u32], y: &[u32]) -> Vec<u8> {
    named_model(name, graph, ("x", x), y)
}

fn named_model((name, element): (&str, u64), graph: &[u8], (input, x): (&str, &[u32]), y: &[u32]) -> Vec<u8> {
    let mut graph = graph.to_vec();
    text(&mut graph, 2, name);
    field(&mut graph, 11, &value(input, element, x));
    field(&mut graph, 12, &value("y", element, y));
    let mut opset = Vec::new();
    number(&mut opset, 2, 17);
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    field(&mut model, 7, &graph);
    field(&mut model, 8, &opset);
    model
}

/// A node of a graph, with attributes that are lists of whole numbers.
fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[u64])]) -> Vec<u8> {
    let mut node = Vec::new();
    for input in inputs {
        text(&mut node, 1, input);
    }
    text(&mut node, 2, output);
    text(&mut node, 4, operator);
    for (name, values) in attributes {
        let mut attribute = Vec::new();
        text(&mut attribute, 1, name);
        for value in *values {
            number(&mut attribute, 8, *value);
        }
        number(&mut attribute, 20, INTS);
        field(&mut node, 5, &attribute);
    }
    let mut out = Vec::new();
    field(&mut out, 1, &node);
    out
}

/// A constant of a graph.
fn initializer(name: &str, shape: &[u32], values: &[f32]) -> Vec<u8> {
    let mut tensor = Vec::new();
    for extent in shape {
        number(&mut tensor, 1, (*extent).into());
    }
    number(&mut tensor, 2, FLOAT);
    text(&mut tensor, 8, name);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    field(&mut tensor, 9, &bytes);
    let mut out = Vec::new();
    field(&mut out, 5, &tensor);
    out
}

/// ONNX's number for an attribute that is a list of whole numbers.
const INTS: u64 = 7;

/// ONNX's numbers for FP32 and INT64.
const FLOAT: u64 = 1;
const INT64: u64 = 7;

/// A `ValueInfoProto` of shape [batch, extents…].
fn value(name: &str, element: u64, extents: &[u32]) -> Vec<u8> {
    let mut batch = Vec::new();
    text(&mut batch, 2, "batch");
    let mut shape = Vec::new();
    field(&mut shape, 1, &batch);
    for extent in extents {
        let mut width = Vec::new();
        number(&mut width, 1, (*extent).into());
        field(&mut shape, 1, &width);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, element);
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
