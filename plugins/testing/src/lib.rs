//! Runs a plugin's case folders natively; the host's tests run the same folders through the sandbox. The format is
//! described in `plugins/README.md`.
//!
//! Everything here panics where a case fails or can't be read: it only ever runs inside tests.
#![expect(clippy::panic, clippy::expect_used, reason = "a failed case is a failed test")]

mod compare;
mod wire;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_sdk::bindings::exports::bulkhead::plugin::transformer as export;
use bulkhead_sdk::testing::Exchange;
use bulkhead_sdk::{Blob, Error, Payload, Step, Transform, glue};
use serde::Deserialize;

pub use compare::difference;

/// What `describe` gave, as it crosses the boundary.
pub type Described = export::Description;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    config: toml::Table,
    hook: Hook,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default = "default_tolerance")]
    tolerance: f64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Hook {
    Before,
    After,
}

/// A few units in the last place of a 32-bit float.
fn default_tolerance() -> f64 {
    1e-6
}

/// Runs every case of a folder and reports all that failed.
///
/// # Panics
/// Where a case fails, or there is none.
pub fn run_all<T: Transform>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).expect("the folder of cases").map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    let mut failures = String::new();
    for case in &cases {
        if let Err(failure) = run::<T>(case) {
            let _ = write!(failures, "\n{}: {failure}", case.file_name().expect("a name").to_string_lossy());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What a transform tells of itself under a configuration.
///
/// # Errors
/// As the transform refuses the configuration.
pub fn describe<T: Transform>(config: &serde_json::Value) -> Result<Described, Error> {
    Ok(glue::configured::<T>(&config.to_string(), T::check)?.describe().into())
}

fn run<T: Transform>(folder: &Path) -> Result<(), String> {
    let case: Case = toml::from_str(&read(&folder.join("case.toml"))).map_err(|error| format!("case.toml: {error}"))?;
    let outcome = exchange::<T>(&case, request(folder, &case));
    let error = folder.join("error.txt");
    match (outcome, error.exists()) {
        (Ok(payload), false) => {
            let expected = fs::read(folder.join("expect.json")).map_err(|error| format!("expect.json: {error}"))?;
            let expected = serde_json::from_slice(&expected).map_err(|error| format!("expect.json: {error}"))?;
            difference(&wire::to_value(&payload), &expected, case.tolerance).map_or(Ok(()), Err)
        }
        (Err(error), true) => {
            let (got, expected) = (error_text(&error), read(&folder.join("error.txt")));
            if got == expected.trim() { Ok(()) } else { Err(format!("expected the error\n  {}\ngot\n  {got}", expected.trim())) }
        }
        (Ok(payload), true) => Err(format!("expected an error, got {}", wire::to_value(&payload))),
        (Err(error), false) => Err(format!("expected an answer, got the error\n  {}", error_text(&error))),
    }
}

fn exchange<T: Transform>(case: &Case, payload: Payload) -> Result<Payload, Error> {
    let config = serde_json::to_value(&case.config).expect("TOML has a JSON form");
    let mut exchange = Exchange::<T>::open(&config)?;
    match case.hook {
        Hook::After => exchange.after(payload),
        Hook::Before => match exchange.before(payload)? {
            Step::Proceed(payload) | Step::Answer(payload) => Ok(payload),
        },
    }
}

fn request(folder: &Path, case: &Case) -> Payload {
    let json = folder.join("request.json");
    if json.exists() {
        return wire::payload(read(&json));
    }
    let data = fs::read(folder.join("request.bin")).expect("request.json or request.bin");
    Payload::Blob(Blob { content_type: case.content_type.clone().expect("`content_type` of request.bin"), data })
}

fn error_text(error: &Error) -> String {
    match error {
        Error::Invalid { pointer, message } => format!("invalid {pointer}\n{message}").replace(" \n", "\n"),
        Error::Unavailable(message) => format!("unavailable\n{message}"),
        Error::Internal(message) => format!("internal\n{message}"),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
