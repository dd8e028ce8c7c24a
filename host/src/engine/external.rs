//! Refuses models whose parts lie in other files: the runtime would read whatever file of this host they name, another
//! tenant's model perhaps.
//!
//! Of ONNX's messages only what can hold a tensor is read, by the numbers of its fields in `onnx.proto`; elements are
//! skipped.

use prost::Message;

use super::backend::BackendError;

#[derive(Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "20")]
    training_info: Vec<TrainingInfoProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Message)]
struct TrainingInfoProto {
    #[prost(message, optional, tag = "1")]
    initialization: Option<GraphProto>,
    #[prost(message, optional, tag = "2")]
    algorithm: Option<GraphProto>,
}

#[derive(Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<AttributeProto>,
}

#[derive(Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensorProto>,
}

#[derive(Message)]
struct NodeProto {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensorProto>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensorProto>,
}

#[derive(Message)]
struct SparseTensorProto {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

#[derive(Message)]
struct TensorProto {
    /// Text, which need not be UTF-8 for the runtime to take it.
    #[prost(bytes = "vec", tag = "8")]
    name: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    /// 1 stands for a file.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Message)]
struct Entry {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// What there is to say against a model's bytes.
pub(super) enum Objection {
    /// A tensor lies in another file.
    Elsewhere(BackendError),
    /// They can't be read, so that nobody knows where its tensors lie. The runtime may say better what is wrong.
    Unreadable(BackendError),
}

impl From<Objection> for BackendError {
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::Elsewhere(error) | Objection::Unreadable(error) => error,
        }
    }
}

/// Checks a model's bytes.
///
/// # Errors
/// See [`Objection`].
pub(super) fn check(model: &[u8]) -> Result<(), Objection> {
    let unreadable = |why: &str| Objection::Unreadable(BackendError::Refused(format!("expected an ONNX model, got bytes that are none: {why}")));
    let model = ModelProto::decode(model).map_err(|error| unreadable(&error.to_string()))?;
    let graph = model.graph.as_ref().ok_or_else(|| unreadable("they hold no graph"))?;
    let training = model.training_info.iter().flat_map(|info| info.initialization.iter().chain(&info.algorithm));
    let functions = model.functions.iter();
    let found = std::iter::once(graph)
        .chain(training)
        .find_map(in_graph)
        .or_else(|| functions.clone().flat_map(|function| &function.node).find_map(in_node))
        .or_else(|| functions.clone().flat_map(|function| &function.attribute_proto).find_map(in_attribute));
    match found {
        None => Ok(()),
        Some(tensor) => Err(Objection::Elsewhere(BackendError::Refused(format!(
            "its tensor `{}` lies in another file, which nothing here is read from: save the model as one file (`save_as_external_data=False`)",
            String::from_utf8_lossy(&tensor.name).chars().take(100).collect::<String>()
        )))),
    }
}

fn in_graph(graph: &GraphProto) -> Option<&TensorProto> {
    let initializer = graph.initializer.iter().find_map(in_tensor);
    initializer.or_else(|| graph.sparse_initializer.iter().find_map(in_sparse)).or_else(|| graph.node.iter().find_map(in_node))
}

fn in_node(node: &NodeProto) -> Option<&TensorProto> {
    node.attribute.iter().find_map(in_attribute)
}

fn in_attribute(attribute: &AttributeProto) -> Option<&TensorProto> {
    let tensor = attribute.t.iter().chain(&attribute.tensors).find_map(in_tensor);
    let sparse = || attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).find_map(in_sparse);
    tensor.or_else(sparse).or_else(|| attribute.g.iter().chain(&attribute.graphs).find_map(in_graph))
}

fn in_sparse(tensor: &SparseTensorProto) -> Option<&TensorProto> {
    tensor.values.iter().chain(&tensor.indices).find_map(in_tensor)
}

fn in_tensor(tensor: &TensorProto) -> Option<&TensorProto> {
    (tensor.data_location == 1 || !tensor.external_data.is_empty()).then_some(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere() -> TensorProto {
        TensorProto { name: b"w\xff".to_vec(), external_data: vec![Entry { key: b"location".to_vec() }], data_location: 1 }
    }

    fn graph(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> GraphProto {
        GraphProto { node, initializer, sparse_initializer: Vec::new() }
    }

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto { graph: Some(graph), training_info: Vec::new(), functions: Vec::new() }.encode_to_vec()
    }

    #[test]
    fn a_tensor_elsewhere_is_found_wherever_it_hides() {
        let nested = |attribute| model(graph(vec![NodeProto { attribute: vec![attribute] }], Vec::new()));
        let inside = |g| AttributeProto { g: Some(g), ..AttributeProto::default() };
        let sparse = SparseTensorProto { values: None, indices: Some(elsewhere()) };
        for hiding in [
            model(graph(Vec::new(), vec![elsewhere()])),
            model(GraphProto { sparse_initializer: vec![sparse], ..GraphProto::default() }),
            nested(AttributeProto { t: Some(elsewhere()), ..AttributeProto::default() }),
            nested(inside(graph(vec![NodeProto { attribute: vec![inside(graph(Vec::new(), vec![elsewhere()]))] }], Vec::new()))),
        ] {
            let error = BackendError::from(check(&hiding).err().unwrap()).to_string();
            assert!(error.starts_with("its tensor `w\u{fffd}` lies in another file"), "{error}");
        }
        assert!(check(&model(graph(Vec::new(), vec![TensorProto { name: b"w".to_vec(), ..TensorProto::default() }]))).is_ok());
    }

    #[test]
    fn what_is_no_onnx_is_refused() {
        for bytes in [&b""[..], b"ORTM....", b"\x08\x01", &[0xff; 64]] {
            let error = BackendError::from(check(bytes).err().unwrap()).to_string();
            assert!(error.starts_with("expected an ONNX model"), "{error}");
        }
    }
}
