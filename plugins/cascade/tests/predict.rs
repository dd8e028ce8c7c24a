//! Natively, with functions in place of the models.
#![expect(clippy::unwrap_used, reason = "what helpers of a test cannot do is a failed test")]

use std::cell::RefCell;
use std::rc::Rc;

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::testing;
use cascade::Cascade;

/// A cascade over models that give these logits, row by row of what they are asked; with what the big one was asked.
fn cascade(config: serde_json::Value) -> (Cascade, Rc<RefCell<Vec<f32>>>) {
    testing::grant("small", |inputs| {
        // As sure as the input says.
        let rows: Vec<f32> = inputs.get("x")?.values::<f32>()?.iter().flat_map(|x| [0.0, *x]).collect();
        Ok(Tensor::new("logits", &[rows.len() as i64 / 2, 2], &rows)?.into())
    });
    let asked = Rc::new(RefCell::default());
    let heard = Rc::clone(&asked);
    testing::grant("big", move |inputs| {
        let x = inputs.get("x")?.values::<f32>()?.to_vec();
        let rows: Vec<f32> = x.iter().flat_map(|x| [100.0, *x]).collect();
        heard.replace(x);
        Ok(Tensor::new("logits", &[rows.len() as i64 / 2, 2], &rows)?.into())
    });
    (testing::predictor(&config).unwrap(), asked)
}

fn answer(cascade: &mut Cascade, x: &[f32]) -> Vec<f32> {
    let inputs: Tensors =
        [Tensor::new("x", &[x.len() as i64, 1], x).unwrap(), Tensor::new("rate", &[], &[16_000_i64]).unwrap()].into_iter().collect();
    cascade.predict(inputs.into()).unwrap().into_tensors().unwrap().get("logits").unwrap().values::<f32>().unwrap().to_vec()
}

fn config() -> serde_json::Value {
    json!({ "output": "logits", "sure_from": 0.9 })
}

#[test]
fn only_unsure_rows_are_asked_of_the_big_model() {
    let (mut cascade, asked) = cascade(config());
    // exp(3) / (1 + exp(3)) is 0.95, of 2 it is 0.88.
    assert_eq!(answer(&mut cascade, &[3.0, 2.0, -4.0, 0.0]), [0.0, 3.0, 100.0, 2.0, 0.0, -4.0, 100.0, 0.0]);
    assert_eq!(*asked.borrow(), [2.0, 0.0]);
}

#[test]
fn the_big_model_is_asked_nothing_or_all_where_that_is_so() {
    let (mut cascade, asked) = cascade(config());
    assert_eq!(answer(&mut cascade, &[5.0, -5.0]), [0.0, 5.0, 0.0, -5.0]);
    assert!(asked.borrow().is_empty());
    assert_eq!(answer(&mut cascade, &[1.0]), [100.0, 1.0]);
    assert_eq!(answer(&mut cascade, &[f32::NAN])[0], 100.0, "what is no number is not sure");
    assert!(answer(&mut cascade, &[]).is_empty());
}

#[test]
fn probabilities_are_taken_as_they_are() {
    let mut config = config();
    config["kind"] = json!("probabilities");
    let (mut cascade, asked) = cascade(config);
    answer(&mut cascade, &[0.95, 0.5]);
    assert_eq!(*asked.borrow(), [0.5]);
}

#[test]
fn what_rows_have_in_common_stays_whole() {
    let mut config = config();
    config["common"] = json!(["weights"]);
    let (mut cascade, _) = cascade(config);
    testing::grant("big", |inputs| {
        assert_eq!(inputs.get("weights")?.shape(), [2], "as many as there are rows, by chance");
        assert_eq!(inputs.get("x")?.shape(), [1, 1]);
        Ok(Tensor::new("logits", &[1, 2], &[7.0_f32, 8.0])?.into())
    });
    let inputs: Tensors =
        [Tensor::new("x", &[2, 1], &[0.0_f32, 9.0]).unwrap(), Tensor::new("weights", &[2], &[1.0_f32, 2.0]).unwrap()].into_iter().collect();
    let answer = cascade.predict(inputs.into()).unwrap().into_tensors().unwrap();
    assert_eq!(*answer.get("logits").unwrap().values::<f32>().unwrap(), [7.0, 8.0, 0.0, 9.0]);
}

#[test]
fn what_a_model_refuses_of_the_request_is_the_callers_fault() {
    let (mut cascade, _) = cascade(config());
    testing::grant("small", |_| Err(Error::invalid("", "graph `small`: an index out of bounds")));
    let error = cascade.predict(Tensors::from(Tensor::new("x", &[1, 1], &[0.0_f32]).unwrap()).into()).unwrap_err();
    assert_eq!(error, Error::invalid("", "graph `small`: an index out of bounds"));
    let of_its_own = Graph::named("small").unwrap().compute([Tensor::new("x", &[1, 1], &[0.0_f32]).unwrap()]).unwrap_err();
    assert!(matches!(of_its_own, Error::Internal(_)), "{of_its_own}");
}

#[test]
fn models_that_disagree_are_the_plugins_fault() {
    let (mut cascade, _) = cascade(config());
    testing::grant("big", |_| Ok(Tensor::new("logits", &[1, 3], &[0.0_f32; 3])?.into()));
    let error = cascade.predict(Tensors::from(Tensor::new("x", &[2, 1], &[0.0_f32, 9.0]).unwrap()).into()).unwrap_err();
    assert_eq!(error, Error::internal("the models disagree about output `logits`: `small` gives [2, 2], `big` gives [1, 3]"));
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    for (config, pointer) in [
        (json!({ "output": "logits", "sure_from": 1.5 }), "/sure_from"),
        (json!({ "output": "logits", "sure_from": "yes" }), "/sure_from"),
        (json!({ "output": "logits", "sure_from": 0.5, "small": "m" }), "/small"),
    ] {
        let error = testing::predictor::<Cascade>(&config).unwrap_err();
        assert!(matches!(&error, Error::Invalid { pointer: at, .. } if at == pointer), "{error}");
    }
}
