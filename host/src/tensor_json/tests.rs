//! Requests in, answers out, and each mistake.

use super::*;
use crate::tensor::Datatype;

fn encoded(id: Option<&str>, outputs: &[Tensor]) -> String {
    encode(&Answer { model: "m", version: "1.0.0", id, outputs, follow: &[] }).unwrap()
}

fn decode_one(datatype: &str, shape: &str, data: &str) -> Result<Tensor, String> {
    let body = format!(r#"{{"model_name": "ignored", "inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}"#);
    decode(&body).map(|mut request| request.inputs.remove(0)).map_err(|error| format!("{}: {}", error.pointer, error.message))
}

#[test]
fn every_datatype_goes_in_and_comes_out() {
    for (datatype, data) in [
        ("BOOL", "[true,false]"),
        ("UINT8", "[0,255]"),
        ("UINT16", "[0,65535]"),
        ("UINT32", "[0,4294967295]"),
        ("UINT64", "[0,18446744073709551615]"),
        ("INT8", "[-128,127]"),
        ("INT16", "[-32768,32767]"),
        ("INT32", "[-2147483648,2147483647]"),
        ("INT64", "[-9223372036854775808,9223372036854775807]"),
        ("FP16", "[0.5,-2.0]"),
        ("BF16", "[0.5,-2.0]"),
        ("FP32", "[0.1,-3.4028235e38]"),
        ("FP64", "[0.1,-1.7976931348623157e308]"),
        ("BYTES", r#"["one","zw\"ei"]"#),
    ] {
        let tensor = decode_one(datatype, "[2]", data).unwrap();
        tensor.check().unwrap();
        let text = encoded(None, &[tensor]);
        let expected =
            format!(r#"{{"model_name":"m","model_version":"1.0.0","outputs":[{{"name":"x","datatype":"{datatype}","shape":[2],"data":{data}}}]}}"#);
        assert_eq!(text, expected);
    }
}

#[test]
fn data_may_be_nested() {
    let nested = decode_one("INT32", "[2,2]", "[[1,2],[3,4]]").unwrap();
    assert_eq!(nested, decode_one("INT32", "[2,2]", "[1,2,3,4]").unwrap());
    assert_eq!(decode_one("FP32", "[]", "[1]").unwrap().shape, [0i64; 0]);
    assert_eq!(decode_one("FP32", "[0,4]", "[]").unwrap().data, [0u8; 0]);
}

#[test]
fn each_mistake_is_named() {
    for (datatype, shape, data, expected) in [
        ("FLOAT", "[1]", "[1]", "/inputs/0/datatype: expected one of BOOL, UINT8"),
        ("FP32", "[-1]", "[1]", "/inputs/0/shape: expected extents of zero or more, got [-1]"),
        ("FP32", "[9223372036854775807,9]", "[1]", "/inputs/0/shape"),
        ("FP32", "[2]", "[1]", "/inputs/0/data: input `x` of shape [2] takes 2 elements, got 1"),
        ("FP32", "[1]", "[1,2]", "/inputs/0/data: input `x` of shape [1] takes 1 elements, got 2"),
        ("FP32", "[1]", r#"["1"]"#, "/inputs/0/data: input `x`: expected FP32, got a string"),
        ("INT8", "[1]", "[null]", "/inputs/0/data: input `x`: expected INT8, got null"),
        ("FP32", "[1]", "[1,]", "/inputs/0/data: input `x`: expected FP32, got `]`"),
        ("FP32", "[1]", "[1 2]", "/inputs/0/data: input `x`: expected `,` or `]`, got the number 2"),
        ("FP32", "[1]", "[01]", "/inputs/0/data: input `x`: expected FP32, got the number 01"),
        ("INT8", "[1]", "[00]", "expected INT8, got the number 00"),
        ("FP32", "[1]", "[1.]", "expected FP32, got the number 1."),
        ("FP32", "[1]", "[1.e5]", "expected FP32, got the number 1.e5"),
        ("FP32", "[1]", "[.5]", "expected FP32, got `.`"),
        ("FP32", "[1]", "[+1]", "expected FP32, got `+`"),
        ("INT32", "[1]", "[NaN]", "expected INT32, got NaN"),
        ("BYTES", "[1]", "[1]", "expected BYTES, got the number 1"),
        ("FP32", "[\"1\"]", "[1]", "/inputs/0/shape: expected a whole number, got a string"),
        ("FP32", "[1]", "[{}]", "/inputs/0/data: input `x`: expected FP32, got an object"),
        ("UINT8", "[1]", "[256]", "/inputs/0/data: input `x`: 256 is out of the range of UINT8"),
        ("UINT8", "[1]", "[-1]", "/inputs/0/data: input `x`: -1 is out of the range of UINT8"),
        ("INT64", "[1]", "[9223372036854775808]", "is out of the range of INT64"),
        ("INT64", "[1]", "[1.5]", "/inputs/0/data: input `x`: expected INT64, got the number 1.5"),
        ("BOOL", "[1]", "[1]", "/inputs/0/data: input `x`: expected BOOL, got the number 1"),
        ("FP32", "[1]", "[1e39]", "is out of the range of FP32"),
        ("FP16", "[1]", "[70000]", "70000 is out of the range of FP16"),
        ("FP32", "[1000000000000]", "[1]", "takes 1000000000000 elements, got 1"),
    ] {
        let error = decode_one(datatype, shape, data).unwrap_err();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    assert!(decode_one("FP32", "[1]", &deep).unwrap_err().contains("nested more than 100 deep"));
}

#[test]
fn what_json_has_no_number_for_is_null() {
    let data = [f32::NAN, f32::INFINITY, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = Tensor { name: "y".to_owned(), datatype: Datatype::Fp32, shape: vec![3], data };
    assert!(encoded(Some("7"), &[tensor]).ends_with(r#""data":[null,null,1.0]}]}"#));
}

#[test]
fn what_json_has_no_number_for_can_be_said() {
    let tensor = decode_one("FP32", "[4]", "[null, NaN, Infinity, -Infinity]").unwrap();
    let values: Vec<f32> = tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert!(values[0].is_nan() && values[1].is_nan() && values[2] == f32::INFINITY && values[3] == f32::NEG_INFINITY);
    assert_eq!(decode_one("FP32", "[0]", "null").unwrap().data, [0u8; 0]);
    assert!(decode_one("FP32", "[1]", "null").unwrap_err().contains("takes elements, got null"));
    let empty = r#"{"inputs": [{"name": "x", "shape": [0, 4], "datatype": "FP32", "data": null, "parameters": {"binary_data_size": 0}}]}"#;
    assert_eq!(decode(empty).unwrap().follow, [(0, 0)]);
}

#[test]
fn keys_come_in_any_order_and_strings_may_be_base64() {
    let body = r#"{"id": "", "outputs": [{"parameters": {"binary_data": false}, "name": "y"}], "parameters": {"priority": 2, "timeout": 5, "own": [1]},
        "inputs": [{"data": ["AP8="], "parameters": {"content_type": "base64"}, "shape": [1], "datatype": "BYTES", "name": "x"},
                   {"name": "z", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}}]}"#;
    let request = decode(body).unwrap();
    assert_eq!(request.id, None);
    assert_eq!(request.inputs[0].data, [2, 0, 0, 0, 0, 255]);
    assert_eq!((request.follow, request.content_types[0].as_deref()), (vec![(1, 2)], Some("base64")));
    assert_eq!(request.outputs, [Wanted { name: "y".to_owned(), binary: Some(false) }]);
    assert_eq!((request.priority, request.timeout), (2, Some(Duration::from_micros(5))));
}

#[test]
fn what_is_no_request_is_said_to_be_none() {
    for (body, pointer, says) in [
        ("", "", "expected an object, got the end at line 1 column 1"),
        ("[]", "", "expected an object, got an array"),
        ("{}", "", "`inputs` is missing"),
        (r#"{"inputs": [{}]}"#, "/inputs/0", "`name` is missing"),
        (r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}"#, "/inputs/0", "`data` is missing"),
        (r#"{"inputs": [], "parameters": {"sequence_id": 7}}"#, "/parameters/sequence_id", "sequences"),
        (r#"{"inputs": [], "parameters": {"priority": -1}}"#, "/parameters/priority", "got the number -1"),
        (r#"{"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}"#, "/outputs/0/parameters/classification", "classify"),
        (r#"{"inputs": [{"name": "x", "parameters": {"shared_memory_region": "r"}}]}"#, "/inputs/0/parameters/shared_memory_region", "not shared"),
        (r#"{"inputs": [], "inputs": []}"#, "/inputs", "stands twice"),
        (r#"{"inputs": []} x"#, "", "expected the end, got x"),
    ] {
        let error = decode(body).unwrap_err();
        assert_eq!(error.pointer, pointer, "{body}");
        assert!(error.message.contains(says), "{body}: {}", error.message);
    }
}

#[test]
fn outputs_may_follow_as_bytes() {
    let tensor = Tensor { name: "y".to_owned(), datatype: Datatype::Uint8, shape: vec![2], data: vec![1, 2] };
    let text = encode(&Answer { model: "m", version: "1.0.0", id: None, outputs: &[tensor.clone(), tensor], follow: &[true] }).unwrap();
    let expected = r#"[{"name":"y","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},{"name":"y","datatype":"UINT8","shape":[2],"data":[1,2]}]}"#;
    assert!(text.ends_with(expected), "{text}");
}
