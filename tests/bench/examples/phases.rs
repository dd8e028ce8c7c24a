use std::sync::Arc;
use std::time::{Duration, Instant};
use bulkhead::clock::Deadline;
use bulkhead::payload::Payload;
use bulkhead::sandbox::*;
use bulkhead::tensor::{Datatype, Tensor};
use bulkhead_registry::Digest;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[inline(never)]
fn measured_cycles(rt: &tokio::runtime::Runtime, t: &Transform, name: &str, n: usize, sum: &mut [u64; 4]) {
    let id: Arc<str> = "0123456789abcdef0123456789abcdef".into(); let m: Arc<str> = "iris".into(); let v: Arc<str> = "1.0.0".into();
    rt.block_on(async {
        for _ in 0..n {
            let t0 = Instant::now();
            let request = RequestInfo { id: id.clone(), model: m.clone(), version: v.clone(), headers: vec![], deadline: Deadline::after(Duration::from_secs(60)) };
            let places = Transform::places(std::slice::from_ref(t), request.deadline).await.unwrap().unwrap();
            let mut e = t.open(&request, &places).await.unwrap();
            let t1 = Instant::now();
            if name == "tabular" {
                drop(e.before(Payload::Json(r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#.to_owned())).await.unwrap());
            } else {
                let data = [0.1f32, 0.2, 0.7].iter().flat_map(|v| v.to_le_bytes()).collect();
                drop(e.after(Payload::Tensors(vec![Tensor { name: "probabilities".into(), datatype: Datatype::Fp32, shape: vec![1, 3], data }])).await.unwrap());
            }
            let t2 = Instant::now();
            e.finish().await.unwrap();
            let t3 = Instant::now();
            sum[0] += (t1 - t0).as_nanos() as u64; sum[1] += (t2 - t1).as_nanos() as u64; sum[2] += (t3 - t2).as_nanos() as u64;
        }
    });
    sum[3] = sum[0] + sum[1] + sum[2];
}
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let only = std::env::args().nth(2);
    let cache = tempfile::tempdir().unwrap();
    let s = { let _e = rt.enter(); Sandboxes::start(SandboxOptions { instances: 8, cache: cache.path().to_owned(), admission: AdmissionLimits::default(), compiler: std::env::var("COMPILER").unwrap_or("target/release/bulkhead".into()).into() }, prometheus::IntCounter::new("d", "d").unwrap()).unwrap() };
    for (name, config) in [("tabular", r#"{"columns":["sepal_length","sepal_width","petal_length","petal_width"]}"#), ("classify", r#"{"kind":"probabilities","output":"probabilities","labels":["setosa","versicolor","virginica"]}"#)] {
        for warm in [false, true] {
            let label = format!("{name}-{}", if warm { "warm" } else { "fresh" });
            if only.as_ref().is_some_and(|o| !label.contains(o.as_str())) { continue }
            let bytes = std::fs::read(format!("target/plugins/{name}.wasm")).unwrap();
            let t = rt.block_on(async {
                let plugin = s.admit("t", &format!("{name}@0.1.0"), &Digest::of(&bytes), bytes.clone()).await.unwrap();
                s.transform(&plugin, TransformOptions { config: config.to_owned(), limits: Limits { time: Duration::from_secs(1), memory_bytes: 64 << 20 }, warm }, async || Ok(bytes.clone())).await.unwrap()
            });
            let mut best = [f64::MAX; 4];
            for round in 0..20 {
                let mut sum = [0u64; 4];
                measured_cycles(&rt, &t, name, n, &mut sum);
                if round > 0 { for i in 0..4 { best[i] = best[i].min(sum[i] as f64 / n as f64 / 1000.0) } }
            }
            println!("{label:16} open {:.2} call {:.2} finish {:.2} total {:.2} us", best[0], best[1], best[2], best[3]);
        }
    }
}
