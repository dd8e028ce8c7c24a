//! The HTTP client: one host, one credential, errors in our own words.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::ClientOptions;
use super::failure::Failure;

/// Long enough for another continent; a host that is there accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Items asked for at a time: few round trips, small answers.
const PAGE: &str = "100";

/// Speaks to one host.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
    tenant: Option<String>,
}

impl Client {
    pub(super) fn new(options: &ClientOptions) -> anyhow::Result<Self> {
        let base = Url::parse(&options.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(base) = base else {
            let message = format!("expected a URL such as `http://127.0.0.1:8000` for `--url`, got `{}`", options.url);
            return Err(Failure::Usage(message).into());
        };
        // Fails only where one is installed already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if base.scheme() == "http" {
            // Without this a machine that has no CA certificates could not even speak plain HTTP.
            http = http.tls_certs_only([]);
        }
        if let Some(path) = &options.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem).with_context(|| format!("`{}` is no certificate (PEM)", path.display()))?;
            http = http.tls_certs_only(trusted);
        }
        if is_loopback(&base) {
            // A proxy is another machine: its loopback is not ours.
            http = http.no_proxy();
        }
        let http = http.build().context("the HTTP client can't start")?;
        // An empty variable is how shells and compose files say "none".
        let token = options.token.clone().filter(|token| !token.is_empty());
        let tenant = options.as_tenant.clone().filter(|tenant| !tenant.is_empty());
        Ok(Self { http, base, token, tenant })
    }

    /// The address of a resource; the parts are escaped.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // Can't fail: a URL with a host has a path. A prefix in `--url` stays.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let mut request = self.http.request(method, url);
        if let Some(tenant) = &self.tenant {
            request = request.header("x-bulkhead-tenant", tenant);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; an answer that is an error becomes a [`Failure`].
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unanswered(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let request_id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = response.text().await.unwrap_or_default();
        Err(Failure::refused(status, request_id, &body).into())
    }

    /// Sends a request whose answer is JSON; no body at all is `null`.
    pub(super) async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let body = self.send(request).await?.bytes().await.context("the answer broke off")?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("the host's answer is not JSON: is there something else at `--url`?")
    }

    pub(super) async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.json(self.request(Method::GET, self.url(path))).await
    }

    /// All items of a list, over its pages.
    pub(super) async fn list(&self, path: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut url = self.url(path);
            url.query_pairs_mut().append_pair("limit", PAGE);
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("after", after);
            }
            let page = self.json(self.request(Method::GET, url)).await?;
            let (page, next) = split(page)?;
            items.extend(page);
            // A cursor that stays would ask forever.
            match next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(items),
            }
        }
    }

    fn unanswered(&self, error: reqwest::Error) -> anyhow::Error {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(deeper) = source {
            why = deeper.to_string();
            source = deeper.source();
        }
        if error.is_connect() {
            return Failure::NoHost { url: self.base.as_str().trim_end_matches('/').to_owned(), why }.into();
        }
        // A host that refuses a body before its end closes the connection, and its answer may be lost with it.
        let hint = if error.is_body() || why.contains("reset") || why.contains("pipe") {
            "; the host may have refused it early: its log says why"
        } else {
            ""
        };
        anyhow::anyhow!("the request to {} broke off ({why}){hint}", self.base)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A page's items and the cursor of the next page; a bare array is a list of one page.
fn split(page: Value) -> anyhow::Result<(Vec<Value>, Option<String>)> {
    match page {
        Value::Array(items) => Ok((items, None)),
        Value::Object(mut page) => match page.remove("items") {
            Some(Value::Array(items)) => Ok((items, page.get("next").and_then(Value::as_str).map(str::to_owned))),
            _ => anyhow::bail!("the host's answer is no list"),
        },
        _ => anyhow::bail!("the host's answer is no list"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client(url: &str) -> anyhow::Result<Client> {
        Client::new(&ClientOptions { url: url.to_owned(), token: Some(String::new()), as_tenant: None, ca_file: None })
    }

    #[test]
    fn addresses_keep_a_prefix_and_escape_names() {
        for (base, expected) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/models/a%2Fb"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/models/a%2Fb"),
            ("https://example.com/serving/", "https://example.com/serving/v1/models/a%2Fb"),
        ] {
            assert_eq!(client(base).unwrap().url(&["v1", "models", "a/b"]).as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_address_is_wrong_usage() {
        for url in ["", "localhost:8000", "ftp://example.com", "127.0.0.1:8000"] {
            let error = client(url).err().unwrap();
            assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))), "{url}: {error}");
        }
    }

    #[test]
    fn loopback_is_known() {
        for (url, expected) in [("http://127.0.0.1:1", true), ("http://[::1]:1", true), ("http://localhost", true), ("http://10.0.0.1", false)] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn pages_are_split() {
        assert_eq!(split(json!({"items": [1], "next": "c"})).unwrap(), (vec![json!(1)], Some("c".to_owned())));
        assert_eq!(split(json!({"items": [], "next": null})).unwrap(), (vec![], None));
        assert!(split(json!({"error": 1})).is_err());
    }
}
