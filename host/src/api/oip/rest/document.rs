//! The protocol's routes as the OpenAPI document has them.

use serde_json::{Value, json};

/// Method, path and summary. What bodies hold is the protocol's affair: <https://github.com/open-inference/open-inference-protocol>.
const ROUTES: [(&str, &str, &str); 13] = [
    ("get", "/v2", "Name, version and extensions of the server"),
    ("get", "/v2/health/live", "Whether the process answers"),
    ("get", "/v2/health/ready", "Whether everything is loaded"),
    ("get", "/v2/models", "Names of all models"),
    ("get", "/v2/models/stats", "Statistics of all models"),
    ("get", "/v2/models/{name}", "What a model takes and gives"),
    ("get", "/v2/models/{name}/ready", "Whether a model answers"),
    ("get", "/v2/models/{name}/config", "Configuration of a model, by Triton's names"),
    ("get", "/v2/models/{name}/stats", "Statistics of a model"),
    ("post", "/v2/models/{name}/infer", "Infer: tensors as JSON, or as bytes behind it"),
    ("post", "/v2/repository/index", "Every version and its state"),
    ("post", "/v2/repository/models/{name}/load", "Load a model that was unloaded"),
    ("post", "/v2/repository/models/{name}/unload", "Take a model out of memory"),
];

/// Each path with its operation. Those of a model are there for each of its versions too.
pub(in crate::api) fn paths() -> impl Iterator<Item = (String, Value)> {
    ROUTES.iter().flat_map(|(method, path, summary)| {
        let of_version = path.strip_prefix("/v2/models/{name}").map(|rest| format!("/v2/models/{{name}}/versions/{{version}}{rest}"));
        [Some((*path).to_owned()), of_version].into_iter().flatten().map(move |path| {
            let named = ["name", "version"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
            let parameters: Vec<_> =
                named.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
            let mut operation = json!({
                "tags": ["Open Inference Protocol"],
                "summary": summary,
                "parameters": parameters,
                "responses": { "200": { "description": "the answer" }, "default": { "description": "`{\"error\": message}`" } },
            });
            if *method == "post" {
                operation["requestBody"] = json!({ "content": { "application/json": {}, "application/octet-stream": {} } });
            }
            (path, json!({ *method: operation }))
        })
    })
}
