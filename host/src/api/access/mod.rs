//! Who comes, and whether it may: the one place where credentials become callers, and routes ask for scopes.

mod gate;
mod looks;
mod need;
mod routes;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bulkhead_registry::{ActorKind, AuditEntry, Origin, Outcome, TenantId};

pub(super) use need::Need;
pub(super) use routes::{Operation, Routes};

use super::App;
use super::error::{ApiError, FORBIDDEN, INVALID_INPUT, KEYS_UNAVAILABLE, TOO_MANY_REQUESTS, UNAUTHENTICATED};
use crate::audit::AuditLog;
use crate::auth::{AuthError, Authenticator, Caller, Memory, Presented, Scope};
use crate::clock;
use crate::tenants::Tenants;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// In whose name a caller asks that may do so in others' than its own.
const TENANT: HeaderName = HeaderName::from_static("x-bulkhead-tenant");

/// Characters of a target in the audit: a path may be long.
const TARGET_CHARS: usize = 256;

/// Characters of a method there: it may be whatever a caller likes, and longer than any that there is.
const METHOD_CHARS: usize = 16;

/// Lets callers in.
pub struct Access {
    /// None where authentication is off.
    pub authenticator: Option<Arc<Authenticator>>,
    /// The documentation is open to everybody.
    pub open_docs: bool,
    /// Where refusals are written down.
    pub audit: AuditLog,
    /// Whether a tenant is shut out is known there.
    pub tenants: Arc<Tenants>,
}

/// Who came with a request.
#[derive(Clone)]
pub(super) struct Visitor {
    /// The caller, or why nobody knows who it is.
    pub(super) who: Result<Arc<Caller>, AuthError>,
    /// Whose things it asks about; its own, unless it says otherwise.
    on: Option<Result<TenantId, String>>,
    /// Where it comes from.
    pub(super) source: Option<IpAddr>,
    open_docs: bool,
}

impl Access {
    /// Finds out who comes. Mostly that is known already; the rest is boxed, since every request would else carry around what
    /// the first one of a token needs.
    pub(super) async fn visitor(&self, headers: &HeaderMap, source: Option<IpAddr>, memory: &Memory) -> Visitor {
        let who = match &self.authenticator {
            None => Ok(Caller::anybody()),
            Some(authenticator) => match presented(headers) {
                Ok(presented) => match authenticator.recall(presented, memory) {
                    Some(caller) => Ok(caller),
                    None => Box::pin(authenticator.authenticate(presented, source)).await,
                },
                Err(error) => Err(authenticator.refuse(error, source)),
            },
        };
        let who = who.and_then(|caller| if self.tenants.is_disabled(&caller.tenant) { Err(AuthError::Disabled) } else { Ok(caller) });
        let on = headers.get(TENANT).map(|value| {
            let text = value.to_str().map_err(|_| "letters, digits, `.`, `_` or `-`".to_owned())?;
            text.parse().map_err(|error: bulkhead_registry::IdError| error.to_string())
        });
        Visitor { who, on, source, open_docs: self.open_docs || self.authenticator.is_none() }
    }

    /// Writes down that a request was refused, or that a change failed.
    pub(super) async fn refused(&self, visitor: &Visitor, request_id: &Arc<str>, (action, target): (&str, &str), error: &ApiError) {
        let outcome = if error.is_denial() || visitor.who.is_err() { Outcome::Denied } else { Outcome::Failed };
        self.note(visitor, request_id, (action, target), outcome, Some(visitor.reason(error).to_owned())).await;
    }

    /// Writes down that somebody was let into another tenant.
    pub(super) async fn crossed(&self, visitor: &Visitor, request_id: &Arc<str>, (action, target): (&str, &str)) {
        self.note(visitor, request_id, (action, target), Outcome::Allowed, None).await;
    }

    async fn note(&self, visitor: &Visitor, request_id: &Arc<str>, (action, target): (&str, &str), outcome: Outcome, reason: Option<String>) {
        let entry = AuditEntry {
            at: clock::unix_ms(),
            by: visitor.origin(Arc::clone(request_id)),
            action: action.to_owned(),
            target_kind: "path".to_owned(),
            target: target.chars().take(TARGET_CHARS).collect(),
            // Whose things they are is not for somebody unknown to say.
            target_tenant: visitor.who.is_ok().then(|| visitor.tenant().cloned()).flatten(),
            outcome,
            reason,
            detail: None,
        };
        self.audit.write(entry).await;
    }
}

impl Visitor {
    /// Whether it may do what needs that.
    ///
    /// # Errors
    /// What to tell it where it may not.
    pub(super) fn check(&self, need: Need) -> Result<(), ApiError> {
        if need == Need::Nothing || need == Need::Docs && self.open_docs {
            return Ok(());
        }
        let caller = self.caller()?;
        let tenant = self.tenant().ok_or_else(|| self.no_tenant())?;
        if *tenant != caller.tenant && !caller.scopes.permit(Scope::AdminTenants) {
            return Err(ApiError::new(FORBIDDEN, format!("asking in another tenant's name needs the scope `{}`", Scope::AdminTenants)));
        }
        let any = need.scopes();
        if any.is_empty() && (*tenant == caller.tenant || !caller.across.is_none()) || any.iter().any(|scope| caller.may(*scope, tenant)) {
            return Ok(());
        }
        let names = any.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(" or ");
        if any.iter().any(|scope| caller.scopes.permit(*scope)) || any.is_empty() {
            return Err(ApiError::new(FORBIDDEN, format!("the credential may not do this in another tenant: its claim `xt` lacks {names}")));
        }
        Err(ApiError::new(FORBIDDEN, format!("this needs the scope {names}, which the credential has not")))
    }

    /// The caller.
    ///
    /// # Errors
    /// What to tell whom nobody knows.
    pub(super) fn caller(&self) -> Result<&Arc<Caller>, ApiError> {
        self.who.as_ref().map_err(|error| {
            let code = match error {
                AuthError::TooMany { wait } => return ApiError::new(TOO_MANY_REQUESTS, error.told()).after(*wait),
                AuthError::KeysUnavailable => KEYS_UNAVAILABLE,
                AuthError::Disabled => FORBIDDEN,
                _ => UNAUTHENTICATED,
            };
            ApiError::new(code, error.told())
        })
    }

    /// Whose things it asks about, where that can be said.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match &self.on {
            Some(on) => on.as_ref().ok(),
            None => self.who.as_ref().ok().map(|caller| &caller.tenant),
        }
    }

    fn no_tenant(&self) -> ApiError {
        let why = self.on.as_ref().and_then(|on| on.as_ref().err()).map(String::as_str).unwrap_or_default();
        ApiError::new(INVALID_INPUT, format!("`{TENANT}`: {why}"))
    }

    /// It is let into another tenant for that. Where anybody is let in, that is who gets to see something of it.
    pub(super) fn crosses(&self, need: Need) -> bool {
        match (&self.on, &self.who) {
            (Some(Ok(on)), Ok(caller)) if *on != caller.tenant => !matches!(need, Need::Nothing | Need::Docs) || caller.may(Scope::ModelsRead, on),
            _ => false,
        }
    }

    /// It asks in a tenant's name, its own or another.
    pub(super) fn names_a_tenant(&self) -> bool {
        self.on.is_some()
    }

    /// Why it was refused, in one word; the caller is told less.
    fn reason(&self, error: &ApiError) -> &'static str {
        self.who.as_ref().err().map_or(error.code(), |error| error.code())
    }

    /// As it stands in the audit.
    pub(super) fn origin(&self, request_id: Arc<str>) -> Origin {
        let (kind, actor, tenant) = match &self.who {
            Ok(caller) => (caller.actor, Arc::clone(&caller.subject), Some(caller.tenant.clone())),
            Err(_) => (ActorKind::Unknown, "".into(), None),
        };
        Origin { request_id, kind, actor, tenant, source: self.source }
    }
}

/// The credentials of a request, as they stand in its headers.
fn presented(headers: &HeaderMap) -> Result<Presented<'_>, AuthError> {
    let bearer = one(headers, &header::AUTHORIZATION)?.map(|value| {
        let (scheme, credential) = value.split_once(' ').ok_or(AuthError::Malformed)?;
        if scheme.eq_ignore_ascii_case("bearer") { Ok(credential.trim()) } else { Err(AuthError::Malformed) }
    });
    Ok(Presented { bearer: bearer.transpose()?, api_key: one(headers, &API_KEY)? })
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    // Which of two is meant nobody can know, unless they are the same.
    if values.any(|value: &HeaderValue| value != first) {
        return Err(AuthError::Disagree);
    }
    first.to_str().map(Some).map_err(|_| AuthError::Malformed)
}

/// Writes down what an operator may have to prove: who was refused, which change failed, and who asked in another tenant's
/// name. What was changed is in the audit by then.
pub(super) async fn note(
    app: &App,
    (visitor, request_id): (&Visitor, &Arc<str>),
    operation: Option<Operation>,
    (method, path): (&str, &str),
    error: Option<&ApiError>,
) {
    let action = operation.map_or_else(|| method.chars().take(METHOD_CHARS).collect(), |operation| operation.name());
    match error {
        Some(error) => {
            if error.is_denial() || visitor.who.is_err() {
                app.metrics.refused(visitor.reason(error));
            }
            app.access.refused(visitor, request_id, (&action, path), error).await;
        }
        None if operation.is_some_and(|operation| visitor.crosses(operation.need)) => app.access.crossed(visitor, request_id, (&action, path)).await,
        None => {}
    }
}
