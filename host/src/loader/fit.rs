//! Whether what plugins say of tensors fits what models say.

use super::LoaderError;
use crate::runner::{Port, Signature};
use crate::sandbox::{TensorSignature, Transform, carries};

/// Compares what the transforms make and read with what is inside them, where that takes or gives tensors.
pub(super) fn transforms(transforms: &[Transform], takes: Option<&[Port]>, gives: Option<&[Port]>) -> Result<(), LoaderError> {
    let into = transforms.iter().rfind(|transform| transform.description().before);
    if let (Some(transform), Some(inputs)) = (into.filter(|transform| !transform.description().produces.is_empty()), takes) {
        let (plugin, produces) = (format!("`{}`", transform.plugin()), &transform.description().produces);
        for made in produces {
            check(&plugin, "makes", made, "the model takes", inputs)?;
        }
        if let Some(missing) = inputs.iter().find(|port| !port.optional && produces.iter().all(|made| made.name != port.name)) {
            return Err(LoaderError::Mismatch(format!(
                "the model takes an input `{}`, which {plugin} does not make: it makes {}",
                missing.name,
                produces.iter().map(shown).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    let out = transforms.iter().rfind(|transform| transform.description().after);
    if let (Some(transform), Some(outputs)) = (out, gives) {
        for read in &transform.description().consumes {
            check(&format!("`{}`", transform.plugin()), "reads", read, "the model gives", outputs)?;
        }
    }
    Ok(())
}

/// Compares one tensor with the ports of a model.
pub(super) fn check(who: &str, verb: &str, tensor: &TensorSignature, model_verb: &str, ports: &[Port]) -> Result<(), LoaderError> {
    let port = ports.iter().find(|port| port.name == tensor.name);
    if port.is_some_and(|port| port.is_compatible(tensor.datatype, &tensor.shape)) {
        return Ok(());
    }
    Err(LoaderError::Mismatch(format!("{who} {verb} {}, and {model_verb} {}", shown(tensor), shown_ports(ports))))
}

/// Whether one graph can be asked in the place of another, by those tensors that a component can give to them.
pub(super) fn stands_for((name, graph): (&str, &Signature), (other, original): (&str, &Signature)) -> Result<(), LoaderError> {
    for (verb, ports, originals) in [("takes", &graph.inputs, &original.inputs), ("gives", &graph.outputs, &original.outputs)] {
        let seen = |port: &&Port| carries(port.datatype);
        // What is open in one input must be so in the other; an output is seen when it comes.
        let shape = |a: &Port, b: &Port| match (&a.shape, &b.shape) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || *a < 0 || (verb == "gives" && *b < 0)),
            _ => true,
        };
        let same = |a: &Port, b: &Port| a.name == b.name && a.datatype == b.datatype && shape(a, b);
        let lacks = originals.iter().filter(seen).find(|original| !ports.iter().any(|port| same(port, original)));
        // An output more is no harm, nor is an input that may be left out.
        let more = ports.iter().find(|port| verb == "takes" && !port.optional && !originals.iter().any(|original| original.name == port.name));
        if let Some(odd) = lacks.or(more) {
            let (have, wanted) = (shown_ports(ports), shown_ports(originals));
            return Err(LoaderError::Mismatch(format!(
                "the predictor asks the graph `{name}` in the place of `{other}`, and they differ in `{}`: `{name}` {verb} {have}, `{other}` {verb} {wanted}",
                odd.name
            )));
        }
    }
    Ok(())
}

/// What a plugin says that it takes or gives, as others see it.
pub(super) fn port(tensor: &TensorSignature) -> Port {
    Port { name: tensor.name.clone(), datatype: tensor.datatype, shape: Some(tensor.shape.clone()), optional: false, symbols: Vec::new() }
}

fn shown(tensor: &TensorSignature) -> String {
    format!("`{}` {} {:?}", tensor.name, tensor.datatype, tensor.shape)
}

fn shown_ports(ports: &[Port]) -> String {
    let ports: Vec<_> =
        ports.iter().map(|port| format!("`{}` {} {:?}", port.name, port.datatype, port.shape.as_deref().unwrap_or_default())).collect();
    if ports.is_empty() { "nothing".to_owned() } else { ports.join(", ") }
}
