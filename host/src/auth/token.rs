//! Tokens of an issuer: what they must say, and by whom it must be signed.

use std::sync::Arc;

use bulkhead_registry::{ActorKind, TenantId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::caller::Caller;
use super::error::AuthError;
use super::keys::{Keys, Known};
use super::scope::Scopes;

/// Clocks of issuer and host may differ by so many seconds.
const LEEWAY_S: u64 = 60;

/// Of a subject: it stands in log lines and in the audit.
const SUBJECT_CHARS: usize = 200;

/// What tokens must say.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Who signs them.
    pub issuer: String,
    /// Whom they are for: this host.
    pub audience: String,
}

/// A token that was checked.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Who brought it.
    pub caller: Arc<Caller>,
    /// Until when it is good, in seconds since the epoch, the leeway included.
    pub until_s: u64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    tenant: String,
    exp: u64,
    #[serde(default)]
    scope: Option<Listed>,
    /// What it may in other tenants.
    #[serde(default)]
    xt: Option<Listed>,
}

/// Issuers write lists as text with spaces, or as lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Text(String),
    List(Vec<String>),
}

impl Listed {
    fn scopes(&self) -> Scopes {
        match self {
            Self::Text(text) => Scopes::known(text),
            Self::List(names) => names.iter().filter_map(|name| name.parse::<super::Scope>().ok()).collect(),
        }
    }
}

/// Checks a token; gives also the generation of the keys that it was checked with.
///
/// # Errors
/// See [`AuthError`].
pub(super) async fn verify(keys: &Keys, expected: &Expected, token: &str) -> Result<(Verified, u64), AuthError> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
        // `none` is no algorithm to the library, and so is a name that it does not know.
        ErrorKind::InvalidAlgorithmName | ErrorKind::Json(_) => AuthError::Algorithm,
        _ => AuthError::Malformed,
    })?;
    let (candidates, generation) = keys.find(header.kid.as_deref(), header.alg).await?;
    let mut refused = AuthError::UnknownKey;
    for known in &*candidates {
        match checked(known, header.alg, expected, token) {
            // Another key without a name may be the one.
            Err(AuthError::Signature) => refused = AuthError::Signature,
            outcome => return outcome.map(|verified| (verified, generation)),
        }
    }
    Err(refused)
}

fn checked(known: &Known, algorithm: Algorithm, expected: &Expected, token: &str) -> Result<Verified, AuthError> {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_issuer(&[&expected.issuer]);
    validation.set_audience(&[&expected.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = jsonwebtoken::decode::<Claims>(token, &known.key, &validation).map_err(|error| refusal(error.kind()))?.claims;
    let tenant: TenantId = claims.tenant.parse().map_err(|_| AuthError::Claims)?;
    let fine = (1..=SUBJECT_CHARS).contains(&claims.sub.chars().count()) && !claims.sub.chars().any(char::is_control);
    if !fine {
        return Err(AuthError::Claims);
    }
    let scopes = |listed: &Option<Listed>| listed.as_ref().map(Listed::scopes).unwrap_or_default();
    let caller =
        Caller { tenant, subject: claims.sub.as_str().into(), actor: ActorKind::Token, scopes: scopes(&claims.scope), across: scopes(&claims.xt) };
    Ok(Verified { caller: Arc::new(caller), until_s: claims.exp.saturating_add(LEEWAY_S) })
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::Signature,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYet,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => AuthError::Algorithm,
        _ => AuthError::Claims,
    }
}
