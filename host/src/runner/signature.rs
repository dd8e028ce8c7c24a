//! What a model takes and gives, read when it is loaded, and the check of inputs against it before they queue.

use serde::{Deserialize, Serialize};

use super::RunError;
use crate::tensor::{Datatype, Tensor};

/// What a model takes and gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// In the model's order.
    pub inputs: Vec<Port>,
    /// In the model's order.
    pub outputs: Vec<Port>,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// As the model names it.
    pub name: String,
    /// Element type.
    pub datatype: Datatype,
    /// -1 stands for any extent; none where even the rank is not known.
    pub shape: Option<Vec<i64>>,
    /// Has a value of its own, so that a request may leave it out.
    pub optional: bool,
    /// The model's names of the extents, empty where it has none for one; a batch's axes have one name, mostly.
    pub symbols: Vec<String>,
}

impl Signature {
    /// Checks inputs and brings them into the model's order.
    ///
    /// # Errors
    /// [`RunError::Invalid`], naming the input, what was expected and what came.
    pub fn arrange(&self, mut inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        for (at, tensor) in inputs.iter().enumerate() {
            let Some(port) = self.inputs.iter().find(|port| port.name == tensor.name) else {
                return Err(invalid(&tensor.name, format!("unknown input `{}`: the model takes {}", tensor.name, self.names())));
            };
            if inputs[..at].iter().any(|earlier| earlier.name == tensor.name) {
                return Err(invalid(&tensor.name, format!("input `{}` came twice", tensor.name)));
            }
            port.check(tensor)?;
        }
        if let Some(missing) = self.inputs.iter().find(|port| !port.optional && !inputs.iter().any(|tensor| tensor.name == port.name)) {
            return Err(invalid(&missing.name, format!("input `{}` is missing: the model takes {}", missing.name, self.names())));
        }
        if inputs.len() > 1 {
            inputs.sort_by_key(|tensor| self.inputs.iter().position(|port| port.name == tensor.name));
        }
        Ok(inputs)
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.inputs.iter().map(|port| format!("`{}`{}", port.name, if port.optional { " (optional)" } else { "" })).collect();
        names.join(", ")
    }
}

impl Port {
    fn check(&self, tensor: &Tensor) -> Result<(), RunError> {
        if tensor.datatype != self.datatype {
            return Err(invalid(&self.name, format!("input `{}` takes {}, got {}", self.name, self.datatype, tensor.datatype)));
        }
        if let Some(shape) = &self.shape
            && !fits(shape, &tensor.shape)
        {
            return Err(invalid(&self.name, format!("input `{}` takes the shape {shape:?}, got {:?}", self.name, tensor.shape)));
        }
        tensor.check().map_err(|error| invalid(&self.name, error.to_string()))
    }

    /// Whether a tensor that is described as `other` can go in here (or come out); -1 fits anything.
    #[must_use]
    pub fn is_compatible(&self, datatype: Datatype, shape: &[i64]) -> bool {
        self.datatype == datatype
            && self.shape.as_ref().is_none_or(|own| own.len() == shape.len() && own.iter().zip(shape).all(|(a, b)| a == b || *a < 0 || *b < 0))
    }
}

/// Whether a concrete shape fits a pattern in which -1 stands for any extent.
fn fits(pattern: &[i64], shape: &[i64]) -> bool {
    pattern.len() == shape.len() && pattern.iter().zip(shape).all(|(expected, got)| expected == got || *expected < 0)
}

fn invalid(input: &str, message: String) -> RunError {
    RunError::Invalid { input: Some(input.to_owned()), message }
}

/// A signature as it is stored and shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignatureDocument {
    inputs: Vec<PortDocument>,
    outputs: Vec<PortDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortDocument {
    name: String,
    datatype: String,
    shape: Option<Vec<i64>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

impl From<&Signature> for SignatureDocument {
    fn from(signature: &Signature) -> Self {
        let document = |port: &Port| PortDocument {
            name: port.name.clone(),
            datatype: port.datatype.name().to_owned(),
            shape: port.shape.clone(),
            optional: port.optional,
        };
        Self { inputs: signature.inputs.iter().map(document).collect(), outputs: signature.outputs.iter().map(document).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, shape: &[i64], optional: bool) -> Port {
        Port { name: name.to_owned(), datatype: Datatype::Fp32, shape: Some(shape.to_vec()), optional, symbols: Vec::new() }
    }

    fn tensor(name: &str, shape: &[i64]) -> Tensor {
        let bytes = shape.iter().product::<i64>() as usize * 4;
        Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: shape.to_vec(), data: vec![0; bytes] }
    }

    fn signature() -> Signature {
        Signature { inputs: vec![port("a", &[-1, 2], false), port("b", &[-1, 2], false), port("s", &[], true)], outputs: Vec::new() }
    }

    #[test]
    fn inputs_come_out_in_the_models_order() {
        let arranged = signature().arrange(vec![tensor("b", &[1, 2]), tensor("a", &[3, 2])]).unwrap();
        assert_eq!(arranged.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn each_mistake_is_named() {
        for (inputs, expected) in [
            (vec![tensor("a", &[1, 2])], "input `b` is missing: the model takes `a`, `b`, `s` (optional)"),
            (vec![tensor("a", &[1, 2]), tensor("b", &[1, 2]), tensor("c", &[1])], "unknown input `c`: the model takes `a`, `b`, `s` (optional)"),
            (vec![tensor("a", &[1, 2]), tensor("a", &[1, 2])], "input `a` came twice"),
            (vec![tensor("a", &[1, 3]), tensor("b", &[1, 2])], "input `a` takes the shape [-1, 2], got [1, 3]"),
            (vec![tensor("a", &[2]), tensor("b", &[1, 2])], "input `a` takes the shape [-1, 2], got [2]"),
            (vec![Tensor { datatype: Datatype::Int64, ..tensor("a", &[1, 2]) }], "input `a` takes FP32, got INT64"),
            (vec![Tensor { data: vec![0; 7], ..tensor("a", &[1, 2]) }], "tensor `a` of shape [1, 2] and type FP32 takes 8 bytes, got 7"),
        ] {
            assert_eq!(signature().arrange(inputs).unwrap_err().to_string(), expected);
        }
    }
}
