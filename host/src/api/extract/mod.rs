//! Facts of a request, taken out and checked before a handler starts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path, Query};
use axum::http::request::Parts;
use bulkhead_registry::{ModelName, ModelRef, Origin, Page, PluginName, PluginRef, TenantId, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::access::Visitor;
use crate::api::error::{ApiError, INVALID_INPUT, NOT_FOUND};
use crate::auth;

/// What every request carries, put there where all requests pass.
#[derive(Clone)]
pub(in crate::api) struct Context {
    /// Echoed, and in every log line.
    pub(in crate::api) request_id: Arc<str>,
    /// When the head of the request was read.
    pub(in crate::api) arrived: Instant,
    /// When the caller stops waiting, where it says so.
    pub(in crate::api) deadline: Option<Instant>,
    /// It has its place among the requests under way already.
    pub(in crate::api) has_place: bool,
    /// Who asks.
    pub(in crate::api) visitor: Visitor,
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal("a request without its context"))
    }
}

/// Who asks, and about whose things. The route's gate has let it in.
#[derive(Clone)]
pub(in crate::api) struct Caller {
    /// Whose things: its own tenant's, unless it may in others and says so.
    pub(in crate::api) tenant: TenantId,
    pub(in crate::api) who: Arc<auth::Caller>,
    request_id: Arc<str>,
    source: Option<IpAddr>,
}

impl Caller {
    pub(in crate::api) fn of(context: &Context) -> Result<Self, ApiError> {
        let who = Arc::clone(context.visitor.caller()?);
        let tenant = context.visitor.tenant().unwrap_or(&who.tenant).clone();
        Ok(Self { tenant, who, request_id: Arc::clone(&context.request_id), source: context.visitor.source })
    }

    /// As it stands in the audit.
    pub(in crate::api) fn origin(&self) -> Origin {
        Origin {
            request_id: Arc::clone(&self.request_id),
            kind: self.who.actor,
            actor: Arc::clone(&self.who.subject),
            tenant: Some(self.who.tenant.clone()),
            source: self.source,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Context>().ok_or_else(|| ApiError::internal("a request without its context")).and_then(Self::of)
    }
}

/// On routes that anybody may ask: none where nobody knows who does.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        Ok(parts.extensions.get::<Context>().and_then(|context| Self::of(context).ok()))
    }
}

/// Something of the path that has a syntax; what breaks it can't exist.
pub(in crate::api) struct Named<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: FromPath> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let creates = parts.method == axum::http::Method::PUT;
        let path = path::<T::Raw, S>(parts, state).await?;
        T::from_path(path).map(Self).map_err(|message| ApiError::new(if creates { INVALID_INPUT } else { NOT_FOUND }, message))
    }
}

async fn path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<T, ApiError> {
    let Path(path) = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state)
        .await
        .map_err(|error: PathRejection| ApiError::new(INVALID_INPUT, error.body_text()))?;
    Ok(path)
}

/// Parameters of the path as they are.
pub(in crate::api) struct Captured<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Captured<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        path(parts, state).await.map(Self)
    }
}

/// Made of the parameters of a path.
pub(in crate::api) trait FromPath: Sized {
    /// The parameters.
    type Raw: DeserializeOwned + Send;

    fn from_path(raw: Self::Raw) -> Result<Self, String>;
}

#[derive(Deserialize)]
pub(in crate::api) struct RawName {
    name: String,
}

#[derive(Deserialize)]
pub(in crate::api) struct RawVersion {
    name: String,
    version: String,
}

impl RawVersion {
    pub(in crate::api) fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned() }
    }
}

impl FromPath for ModelName {
    type Raw = RawName;

    fn from_path(raw: RawName) -> Result<Self, String> {
        raw.name.parse().map_err(|error| format!("model name: {error}"))
    }
}

impl FromPath for PluginName {
    type Raw = RawName;

    fn from_path(raw: RawName) -> Result<Self, String> {
        raw.name.parse().map_err(|error| format!("plugin name: {error}"))
    }
}

fn version(text: &str) -> Result<Version, String> {
    text.parse().map_err(|error| format!("version: {error}"))
}

impl FromPath for ModelRef {
    type Raw = RawVersion;

    fn from_path(raw: RawVersion) -> Result<Self, String> {
        Ok(Self { name: ModelName::from_path(RawName { name: raw.name })?, version: version(&raw.version)? })
    }
}

impl FromPath for PluginRef {
    type Raw = RawVersion;

    fn from_path(raw: RawVersion) -> Result<Self, String> {
        Ok(Self { name: PluginName::from_path(RawName { name: raw.name })?, version: version(&raw.version)? })
    }
}

/// The query, typed.
pub(in crate::api) struct Asked<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = <Query<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error: QueryRejection| ApiError::new(INVALID_INPUT, error.body_text()))
    }
}

/// Which part of a list.
#[derive(Deserialize)]
pub(in crate::api) struct Paging {
    limit: Option<u32>,
    after: Option<String>,
}

impl From<Paging> for Page {
    fn from(paging: Paging) -> Self {
        Self { limit: paging.limit.unwrap_or(100), after: paging.after }
    }
}
