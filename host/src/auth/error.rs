//! Why nobody knows who asks. The log and the audit are told which; the caller is told no more than it should be.

use std::time::Duration;

/// Why a credential is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("no credential")]
    Missing,
    /// A header that is no credential, or a longer one than any is.
    #[error("a credential in no known form")]
    Malformed,
    /// Far longer than any credential is.
    #[error("a credential of more bytes than any has")]
    Oversized,
    /// Two credentials, of different callers.
    #[error("two credentials that disagree")]
    Disagree,
    /// Signed by an algorithm that is not accepted, `none` among them.
    #[error("a token by an algorithm that is not accepted")]
    Algorithm,
    /// Signed by a key that nobody here knows.
    #[error("a token by an unknown key")]
    UnknownKey,
    /// The keys can't be had just now, and those that were are too old.
    #[error("no keys to check a token with: where they come from does not answer")]
    KeysUnavailable,
    /// The signature is not that of the text.
    #[error("a token whose signature does not fit")]
    Signature,
    /// Its time is over.
    #[error("an expired token")]
    Expired,
    /// Its time is yet to come.
    #[error("a token that is not valid yet")]
    NotYet,
    /// For somebody else.
    #[error("a token for another audience")]
    Audience,
    /// By somebody else.
    #[error("a token by another issuer")]
    Issuer,
    /// It lacks what a token must say, or says it in another form.
    #[error("a token with claims that are missing or malformed")]
    Claims,
    /// No key of that name was issued, or its secret is another.
    #[error("an unknown key")]
    Key,
    /// It was revoked.
    #[error("a revoked key")]
    Revoked,
    /// Its tenant is shut out.
    #[error("a credential of a tenant that is disabled")]
    Disabled,
    /// Too many that were none came from there.
    #[error("too many failed attempts from this address")]
    TooMany {
        /// How long it is not listened to.
        wait: Duration,
    },
}

impl AuthError {
    /// Whether it is somebody's attempt to come in with what is no credential. Not where there was none at all, or one that was
    /// good at another time or place: whoever has that need not guess, and may share its address with others.
    #[must_use]
    pub fn is_attempt(self) -> bool {
        matches!(
            self,
            Self::Malformed | Self::Oversized | Self::Disagree | Self::Algorithm | Self::UnknownKey | Self::Signature | Self::Claims | Self::Key
        )
    }

    /// As it stands in log lines, the audit and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Malformed => "credential_malformed",
            Self::Oversized => "credential_oversized",
            Self::Disagree => "credentials_disagree",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::KeysUnavailable => "token_keys_unavailable",
            Self::Signature => "token_signature",
            Self::Expired => "credential_expired",
            Self::NotYet => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::Claims => "token_claims",
            Self::Key => "key_unknown",
            Self::Revoked => "key_revoked",
            Self::Disabled => "tenant_disabled",
            Self::TooMany { .. } => "too_many_attempts",
        }
    }

    /// What the caller is told: what it knows itself, and what helps an honest one; nothing of what the host knows.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Missing => "this route needs a credential: send `Authorization: Bearer …` or `X-API-Key: …`",
            Self::Malformed => "expected `Authorization: Bearer …` or `X-API-Key: …`, got something else",
            Self::Oversized => "the credential is longer than any is",
            Self::Disagree => "the request brings two credentials that disagree: send one",
            Self::Expired => "the credential has expired: get a new one",
            Self::NotYet => "the credential is not valid yet: are the clocks right?",
            Self::Disabled => "the tenant is disabled: ask who operates this host",
            Self::KeysUnavailable => "credentials can't be checked just now; try again in a moment",
            Self::TooMany { .. } => "too many failed attempts; try again later",
            Self::Algorithm | Self::UnknownKey | Self::Signature | Self::Audience | Self::Issuer | Self::Claims | Self::Key | Self::Revoked => {
                "the credential is not accepted here"
            }
        }
    }
}
