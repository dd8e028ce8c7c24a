//! The demo on real input: records and tables of flowers, images of digits.

use std::time::{Duration, Instant};

use base64::Engine as _;
use bulkhead_tests::{TestHost, fixtures, png};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

fn parsed(path: &str) -> Value {
    serde_json::from_slice(&fixtures::demo(path)).expect("JSON")
}

#[tokio::test]
async fn iris_takes_records_and_answers_as_scikit_learn_does() {
    let host = TestHost::start().await;
    host.demo("iris").await;
    let expected = parsed("iris/expected.json");
    let (labels, tolerance) = (&expected["labels"], expected["tolerance"].as_f64().unwrap());
    let rows = expected["rows"].as_array().unwrap();
    let fits = |answer: &Value, row: &Value| {
        let label = row["label"].as_u64().unwrap() as usize;
        assert_eq!(answer["label"], labels[label]);
        for scored in answer["top"].as_array().unwrap() {
            let at = labels.as_array().unwrap().iter().position(|label| *label == scored["label"]).unwrap();
            let (got, wanted) = (scored["score"].as_f64().unwrap(), row["probabilities"][at].as_f64().unwrap());
            assert!((got - wanted).abs() <= tolerance, "{got} is not {wanted}");
        }
        assert_eq!(answer["top"].as_array().unwrap().len(), 3);
        assert_eq!(answer["score"], answer["top"][0]["score"]);
    };
    for row in rows {
        fits(&host.predict("iris", &row["features"]).await.ok(), row);
    }
    let all: Vec<_> = rows.iter().map(|row| row["features"].clone()).collect();
    let answer = host.predict("iris", &json!(all)).await.ok();
    let predictions = answer["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), rows.len());
    predictions.iter().zip(rows).for_each(|(prediction, row)| fits(prediction, row));
}

#[tokio::test]
async fn iris_takes_tables() {
    let host = TestHost::start().await;
    host.demo("iris").await;
    // Columns by name, in whatever order.
    let table = "petal_width,petal_length,sepal_width,sepal_length\n0.2,1.4,3.5,5.1\n1.8,4.8,2.8,6.2\n";
    let answer = host.post("/v1/models/iris/predict", "text/csv; charset=utf-8", table).await.ok();
    let labels: Vec<_> = answer["predictions"].as_array().unwrap().iter().map(|prediction| prediction["label"].clone()).collect();
    assert_eq!(labels, ["setosa", "virginica"]);
    let path = "/v1/models/iris/predict";
    for (content_type, body, pointer) in [
        ("text/csv", "sepal_length,sepal_width,petal_length\n1,2,3\n", "/0/petal_width"),
        ("text/csv", "sepal_length,sepal_width,petal_length,petal_width\n1,2,three,4\n", "/0/petal_length"),
        ("application/json", r#"{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": "wide"}"#, "/petal_width"),
        ("application/json", r#"{"sepal_length": 5.1}"#, ""),
        ("application/json", "{", ""),
        ("application/xml", "<iris/>", ""),
    ] {
        let refusal = host.post(path, content_type, body).await.error(400, "invalid_input");
        refusal.says("tabular@0.1.0");
        assert!(refusal.details["pointer"].as_str().unwrap().starts_with(pointer), "{body}: {refusal:?}");
    }
}

#[tokio::test]
async fn digits_reads_its_samples() {
    let host = TestHost::start().await;
    host.demo("digits").await;
    for digit in 0..10 {
        let png = fixtures::demo(&format!("digits/samples/{digit}.png"));
        let answer = host.post("/v1/models/digits/predict", "image/png", png.clone()).await.expect(200);
        assert_eq!(answer.json()["label"], digit.to_string());
        assert_eq!(answer.json()["top"].as_array().unwrap().len(), 3);
        assert_eq!(answer.header("x-bulkhead-model"), "digits");
        let text = base64::engine::general_purpose::STANDARD.encode(png);
        for image in [text.clone(), format!("data:image/png;base64,{text}")] {
            assert_eq!(host.predict("digits", &json!({ "image": image })).await.ok(), answer.json());
        }
    }
}

#[tokio::test]
async fn digits_reads_the_held_out_images_as_well_as_it_was_measured() {
    const AT_ONCE: usize = 8;
    let host = TestHost::start().await;
    host.demo("digits").await;
    let (about, pixels) = (parsed("digits/heldout.json"), fixtures::demo("digits/heldout.bin"));
    let count = about["count"].as_u64().unwrap() as usize;
    let labels = &pixels[about["labels_offset"].as_u64().unwrap() as usize..];
    let right = futures_util::stream::iter(0..count)
        .map(async |at| {
            let png = png::gray(28, 28, &pixels[at * 784..][..784]);
            let answer = host.post("/v1/models/digits/predict", "image/png", png).await.ok();
            answer["label"].as_str().and_then(|label| label.parse().ok()) == Some(labels[at])
        })
        .buffer_unordered(AT_ONCE)
        .filter(|right| std::future::ready(*right))
        .count()
        .await;
    assert!(right as f64 / count as f64 >= 0.97, "{right} of {count}");
    assert!(right.abs_diff(about["correct"].as_u64().unwrap() as usize) <= 1, "{right} of {count}");
}

#[tokio::test]
async fn odd_images_are_read_or_refused() {
    let host = TestHost::start().await;
    host.demo("digits").await;
    let photo = fixtures::image("photo.jpg");
    let sent = async |content_type: &str, body: Vec<u8>| host.post("/v1/models/digits/predict", content_type, body).await;
    for name in ["one-pixel.png", "gray1.png", "palette4.png", "rgb16.png", "interlaced.png", "rgba.png"] {
        assert_eq!(sent("image/png", fixtures::image(name)).await.status, 200, "{name}");
    }
    for name in ["photo.jpg", "gray.jpg", "progressive.jpg"] {
        assert_eq!(sent("image/jpeg", fixtures::image(name)).await.status, 200, "{name}");
    }
    let half = fixtures::image("rgb.png");
    for (what, content_type, body) in [
        ("nothing", "image/png", Vec::new()),
        ("text", "image/png", b"hello".to_vec()),
        ("half a PNG", "image/png", half[..half.len() / 2].to_vec()),
        ("half a JPEG", "image/jpeg", photo[..photo.len() / 2].to_vec()),
        ("a JPEG's head", "image/jpeg", photo[..100].to_vec()),
        ("another type", "image/gif", b"GIF89a".to_vec()),
        ("no base64", "application/json", br#"{"image": "?"}"#.to_vec()),
        ("another key", "application/json", br#"{"picture": ""}"#.to_vec()),
    ] {
        let answer = sent(content_type, body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.error(400, "invalid_input").says("image@0.1.0");
    }
}

#[tokio::test]
async fn an_image_of_20_000_by_20_000_is_refused_by_its_header() {
    let host = TestHost::start().await;
    host.demo("digits").await;
    // One of 8 kilobytes, and one that goes on for a megabyte.
    for length in [8, 1 << 10] {
        let mut png = png::head(20_000, 20_000);
        png.extend(vec![0; length << 10]);
        let began = Instant::now();
        let refusal = host.post("/v1/models/digits/predict", "image/png", png).await.error(400, "invalid_input");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        refusal.says("20000");
    }
}
