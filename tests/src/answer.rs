//! An answer of the host, and what every answer must be.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a whole answer").to_vec();
        Self { status, headers, body }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// A header's value; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The same answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The answer's JSON, which must be a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.expect(200).json()
    }

    /// Checks that this is the error it should be, in the form that all errors have. Gives its message and details.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> Refusal {
        let shown = self.text();
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(self.header("content-type"), "application/json", "{shown}");
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], code, "{shown}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{shown}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.len() > 10, "a message that says nothing: {shown}");
        let request_id = error["request_id"].as_str().unwrap_or_default();
        assert!(!request_id.is_empty() && request_id == self.header("x-request-id"), "{shown}\n{:?}", self.headers);
        Refusal { message: message.to_owned(), details: error["details"].clone() }
    }
}

/// What an error says.
#[derive(Debug)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// For programs; null where there is none.
    pub details: Value,
}

impl Refusal {
    /// Checks that the message says this.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.message.contains(words), "`{}` does not say `{words}`", self.message);
        self
    }
}
