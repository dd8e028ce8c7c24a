//! The OpenAPI document: the fixed routes, and a path for each model that answers now, made from what its transforms
//! say of themselves and from its signature.

use axum::extract::State;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::App;
use super::access::{Need, Operation, Routes};
use super::extract::Caller;
use super::{audit, keys, models, oip, plugins, revocations, router, tenants, trust_roots, versions, whoami};
use crate::predict::{Slot, State as VersionState};
use crate::runner::Port;
use crate::sandbox::{Predictor, Transform};
use crate::tensor::Datatype;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bulkhead",
        description = "A model-serving host. Each model that answers has a path of its own below; errors are `{\"error\": {code, message, request_id, details?}}`."
    ),
    paths(
        plugins::put,
        plugins::list,
        plugins::versions,
        plugins::get,
        plugins::delete,
        models::list,
        models::get,
        models::promote,
        models::rollback,
        models::history,
        versions::put,
        versions::list,
        versions::get,
        versions::delete,
        whoami::whoami,
        keys::create,
        keys::list,
        keys::revoke,
        tenants::list,
        tenants::get,
        tenants::put,
        trust_roots::create,
        trust_roots::list,
        trust_roots::revoke,
        revocations::create,
        revocations::list,
        revocations::restore,
        audit::list,
        audit::export,
    )
)]
struct Fixed;

pub(super) fn routes() -> Routes {
    let page: Router<App> = Router::from(SwaggerUi::new("/docs").config(Config::from("/openapi.json")));
    let docs = Operation { method: "get", path: "/docs", need: Need::Docs };
    Routes::default().get("/openapi.json", Need::Docs, document).pages(docs, page)
}

/// The models are those of the caller's tenant; nobody in particular is shown none.
async fn document(State(app): State<App>, caller: Option<Caller>) -> Json<Value> {
    let mut document = serde_json::to_value(Fixed::openapi()).unwrap_or_default();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for (path, operation) in fixed_predict().into_iter().chain(oip::rest::document::paths()) {
            paths.insert(path, operation);
        }
        let mut all = app.loader.slots().all();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        for (tenant, model, state) in all {
            let VersionState::Ready(slot) = state else { continue };
            let answers =
                app.loader.slots().pick(tenant.as_str(), model.name.as_str(), None).is_ok_and(|(current, _)| current.version() == slot.version());
            if answers && caller.as_ref().is_some_and(|caller| caller.tenant == tenant && sees(caller)) {
                paths.insert(format!("/v1/models/{}/predict", model.name), json!({ "post": operation(&slot) }));
            }
        }
    }
    secure(&mut document);
    Json(document)
}

fn sees(caller: &Caller) -> bool {
    Need::MODELS_SEE.scopes().iter().any(|scope| caller.who.may(*scope, &caller.tenant))
}

/// Says what each operation needs of whoever asks: the very table that the gates before the routes are made from. Those that
/// nothing describes are there too, so that the document leaves none out.
fn secure(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A token of an issuer, or a key of this host" },
        "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key of this host" },
    });
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for Operation { method, path, need } in router::operations() {
        let operation = paths.entry(*path).or_insert_with(|| json!({}))[*method].as_object_mut().cloned();
        let mut operation = operation.unwrap_or_else(|| {
            json!({ "tags": ["host"], "responses": { "200": { "description": "the answer" } } }).as_object().cloned().unwrap_or_default()
        });
        operation.insert("security".to_owned(), need.document());
        paths[*path][*method] = Value::Object(operation);
    }
    // Each model's own path stands for the one with a name in it.
    for (path, item) in paths.iter_mut() {
        if path.starts_with("/v1/models/") && path.ends_with("/predict") && !path.contains('{') {
            item["post"]["security"] = Need::PREDICT.document();
        }
    }
}

/// The routes of predict as they are, with the name as a parameter.
fn fixed_predict() -> [(String, Value); 2] {
    let operation = |parameters: &[&str]| {
        let parameters: Vec<_> =
            parameters.iter().map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
        json!({ "post": {
            "tags": ["predict"],
            "summary": "Predict",
            "parameters": parameters,
            "requestBody": { "required": true, "content": { "application/json": {}, "application/octet-stream": {} } },
            "responses": responses(&json!({})),
        } })
    };
    [
        ("/v1/models/{name}/predict".to_owned(), operation(&["name"])),
        ("/v1/models/{name}/versions/{version}/predict".to_owned(), operation(&["name", "version"])),
    ]
}

fn responses(schema: &Value) -> Value {
    let error = json!({ "description": "error", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } } });
    json!({ "200": { "description": "the answer", "content": { "application/json": { "schema": schema } } }, "default": error })
}

/// What one model takes and gives.
fn operation(slot: &Slot) -> Value {
    let signature = slot.signature();
    // A plugin's schema is a document of its own: its references are to be read within it.
    let apart = |schema: &Value, which: &str| {
        let mut schema = schema.clone();
        if let Some(schema) = schema.as_object_mut() {
            schema.entry("$id").or_insert_with(|| json!(format!("urn:bulkhead:{}:{}:{which}", slot.model(), slot.version())));
        }
        schema
    };
    let mut content = Map::new();
    match takes(slot) {
        Some((accepts, schema)) => {
            for content_type in accepts {
                content.insert(content_type.clone(), json!({ "schema": { "type": "string", "format": "binary" } }));
            }
            if let Some(schema) = schema {
                content.insert("application/json".to_owned(), json!({ "schema": apart(schema, "input") }));
            }
        }
        None => {
            content.insert("application/json".to_owned(), json!({ "schema": tensors("inputs", &signature.inputs) }));
        }
    }
    let answer = match gives(slot) {
        Some(schema) => schema.map_or_else(|| json!({}), |schema| apart(schema, "output")),
        None => tensors("outputs", &signature.outputs),
    };
    let transforms = slot.transforms().iter().map(|transform| transform.description().summary.as_str());
    let summary: Vec<_> = transforms.chain(slot.predictor().map(|predictor| predictor.description().summary.as_str())).collect();
    json!({
        "tags": ["predict"],
        "operationId": format!("predict_{}", slot.model()),
        "summary": format!("Predict with {}@{}", slot.model(), slot.version()),
        "description": summary.join(" "),
        "requestBody": { "required": true, "content": content },
        "responses": responses(&answer),
    })
}

/// Content types and JSON Schema of the body that the outermost plugin takes; none where it is tensors.
fn takes(slot: &Slot) -> Option<(&[String], Option<&Value>)> {
    match (slot.transforms().iter().map(Transform::description).find(|does| does.before), slot.predictor().map(Predictor::description)) {
        (Some(does), _) => Some((&does.accepts, does.input_schema.as_ref())),
        (None, Some(does)) if !slot.core().takes_tensors() => Some((&does.accepts, does.input_schema.as_ref())),
        (None, _) => None,
    }
}

/// JSON Schema of the answer that the outermost plugin makes; none where it is tensors.
fn gives(slot: &Slot) -> Option<Option<&Value>> {
    match (slot.transforms().iter().map(Transform::description).find(|does| does.after), slot.predictor().map(Predictor::description)) {
        (Some(does), _) => Some(does.output_schema.as_ref()),
        (None, Some(does)) if !slot.core().gives_tensors() => Some(does.output_schema.as_ref()),
        (None, _) => None,
    }
}

/// A JSON Schema of named tensors in the form of the Open Inference Protocol.
fn tensors(field: &str, ports: &[Port]) -> Value {
    let one: Vec<_> = ports
        .iter()
        .map(|port| {
            let element = match port.datatype {
                Datatype::Bool => "boolean",
                Datatype::Bytes => "string",
                Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => "number",
                _ => "integer",
            };
            json!({
                "type": "object",
                "description": format!("shape {:?}; -1 is any extent", port.shape.as_deref().unwrap_or_default()),
                "required": ["name", "datatype", "shape", "data"],
                "properties": {
                    "name": { "const": port.name },
                    "datatype": { "const": port.datatype.name() },
                    "shape": { "type": "array", "items": { "type": "integer" } },
                    "data": { "type": "array", "items": { "type": [element, "array"] } },
                },
            })
        })
        .collect();
    json!({ "type": "object", "required": [field], "properties": { field: { "type": "array", "items": { "anyOf": one } } } })
}
