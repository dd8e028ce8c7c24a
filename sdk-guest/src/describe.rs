//! What plugins tell of themselves.

use crate::Datatype;
use crate::bindings::bulkhead::plugin::types::TensorSignature;
use crate::bindings::exports::bulkhead::plugin::transformer as wit;
use crate::bindings::predictor::exports::bulkhead::plugin::prediction as predictor;

/// Which of a transform's functions do something; the host never calls the others. That of [`crate::Open`] needs no
/// mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks(wit::Hooks);

impl Hooks {
    /// Only [`crate::Transform::before`].
    pub const BEFORE: Self = Self(wit::Hooks::BEFORE);
    /// Only [`crate::Transform::after`].
    pub const AFTER: Self = Self(wit::Hooks::AFTER);
    /// Both, which is what [`Description::new`] assumes.
    pub const BOTH: Self = Self(wit::Hooks::BEFORE.union(wit::Hooks::AFTER));

    /// Whether `before` is called.
    #[must_use]
    pub fn before(self) -> bool {
        self.0.contains(wit::Hooks::BEFORE)
    }

    /// Whether `after` is called.
    #[must_use]
    pub fn after(self) -> bool {
        self.0.contains(wit::Hooks::AFTER)
    }
}

/// What a transform does under its configuration: feeds OpenAPI, the console and the check against the model.
#[derive(Debug)]
pub struct Description(pub(crate) wit::Description);

impl Description {
    /// A description in one sentence.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self(wit::Description {
            summary: summary.into(),
            hooks: Hooks::BOTH.0,
            accepts: Vec::new(),
            input_schema: None,
            output_schema: None,
            config_schema: None,
            produces: Vec::new(),
            consumes: Vec::new(),
        })
    }

    /// Names the functions that do something.
    #[must_use]
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.0.hooks = hooks.0;
        self
    }

    /// Adds a content type that `before` takes, such as `image/png`.
    #[must_use]
    pub fn accepts(mut self, content_type: &str) -> Self {
        self.0.accepts.push(content_type.to_owned());
        self
    }

    /// JSON Schema of the body that `before` takes, where it is JSON.
    #[must_use]
    pub fn input_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.input_schema = Some(schema.to_string());
        self
    }

    /// JSON Schema of the answer that `after` gives, where it is JSON.
    #[must_use]
    pub fn output_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.output_schema = Some(schema.to_string());
        self
    }

    /// JSON Schema of the configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.config_schema = Some(schema.to_string());
        self
    }

    /// Adds a tensor that `before` hands on; -1 in the shape stands for any extent.
    #[must_use]
    pub fn produces(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.0.produces.push(signature(name, datatype, shape));
        self
    }

    /// Adds a tensor that `after` reads; -1 in the shape stands for any extent. Next to the model it is given these alone,
    /// or all where none is named.
    #[must_use]
    pub fn consumes(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.0.consumes.push(signature(name, datatype, shape));
        self
    }
}

impl From<Description> for wit::Description {
    fn from(description: Description) -> Self {
        description.0
    }
}

/// What a predictor does under its configuration: feeds OpenAPI, the console, and the check against the models.
///
/// It takes and gives bodies of its own (JSON, or bytes) unless it says otherwise.
#[derive(Debug)]
pub struct PredictorDescription(pub(crate) predictor::Description);

impl PredictorDescription {
    /// A description in one sentence.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self(predictor::Description {
            summary: summary.into(),
            request: false,
            takes: predictor::Ports::Body,
            gives: predictor::Ports::Body,
            accepts: Vec::new(),
            input_schema: None,
            output_schema: None,
            config_schema: None,
            graphs: Vec::new(),
        })
    }

    /// Adds a content type of bodies that it takes, such as `image/png`.
    #[must_use]
    pub fn accepts(mut self, content_type: &str) -> Self {
        self.0.accepts.push(content_type.to_owned());
        self
    }

    /// JSON Schema of the body that it takes, where that is JSON.
    #[must_use]
    pub fn input_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.input_schema = Some(schema.to_string());
        self
    }

    /// JSON Schema of its answer, where that is JSON.
    #[must_use]
    pub fn output_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.output_schema = Some(schema.to_string());
        self
    }

    /// JSON Schema of the configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: &serde_json::Value) -> Self {
        self.0.config_schema = Some(schema.to_string());
        self
    }

    /// It takes this tensor, and those of further calls, rather than a body; -1 in the shape stands for any extent.
    #[must_use]
    pub fn takes(mut self, (name, datatype, shape): (&str, Datatype, &[i64])) -> Self {
        add(&mut self.0.takes, signature(name, datatype, shape));
        self
    }

    /// It takes the tensors that this graph takes.
    #[must_use]
    pub fn takes_as(mut self, graph: &str) -> Self {
        self.0.takes = predictor::Ports::Graph(graph.to_owned());
        self.graph(graph)
    }

    /// It gives this tensor, and those of further calls, rather than a body; -1 in the shape stands for any extent.
    #[must_use]
    pub fn gives(mut self, (name, datatype, shape): (&str, Datatype, &[i64])) -> Self {
        add(&mut self.0.gives, signature(name, datatype, shape));
        self
    }

    /// It gives the tensors that this graph gives.
    #[must_use]
    pub fn gives_as(mut self, graph: &str) -> Self {
        self.0.gives = predictor::Ports::Graph(graph.to_owned());
        self.graph(graph)
    }

    /// It runs this graph, so that a manifest that does not grant it is refused.
    #[must_use]
    pub fn graph(mut self, graph: &str) -> Self {
        self.uses(graph);
        self
    }

    /// It gives this tensor to that graph.
    #[must_use]
    pub fn feeds(mut self, graph: &str, (name, datatype, shape): (&str, Datatype, &[i64])) -> Self {
        self.uses(graph).inputs.push(signature(name, datatype, shape));
        self
    }

    /// It reads this tensor of what that graph gives.
    #[must_use]
    pub fn reads(mut self, graph: &str, (name, datatype, shape): (&str, Datatype, &[i64])) -> Self {
        self.uses(graph).outputs.push(signature(name, datatype, shape));
        self
    }

    /// It asks this graph in the place of that one, so that a manifest is refused whose models for the two take or give
    /// different tensors.
    #[must_use]
    pub fn stands_for(mut self, graph: &str, other: &str) -> Self {
        self.uses(graph).stands_for = Some(other.to_owned());
        self.graph(other)
    }

    fn uses(&mut self, graph: &str) -> &mut predictor::GraphUse {
        let graphs = &mut self.0.graphs;
        let at = graphs.iter().position(|known| known.name == graph).unwrap_or_else(|| {
            graphs.push(predictor::GraphUse { name: graph.to_owned(), inputs: Vec::new(), outputs: Vec::new(), stands_for: None });
            graphs.len() - 1
        });
        &mut graphs[at]
    }
}

fn add(ports: &mut predictor::Ports, tensor: TensorSignature) {
    match ports {
        predictor::Ports::Tensors(tensors) => tensors.push(tensor),
        other => *other = predictor::Ports::Tensors(vec![tensor]),
    }
}

fn signature(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSignature {
    TensorSignature { name: name.to_owned(), datatype, shape: shape.to_vec() }
}
