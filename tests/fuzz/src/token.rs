//! Credentials: tokens and keys.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use bulkhead::auth::{Authenticator, Caller, Expected, Issued, KeyHash, Keys, Presented, Scopes, Source};
use bulkhead_registry::ActorKind;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

use super::wait;

const SECRET: &[u8] = b"thirty-two bytes that nobody knows";

/// A key that was issued, and the hash of its secret.
const KEY: &str = "bhk_0123456789abcdef_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const KEY_HASH: &str = "2a8abfa8cb9906290437854193ca6bca41d4d4e26d1d454bd66a35158095e737";

/// Behind a zero stands a credential as it comes, behind anything else what a good signature says.
pub fn token(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    match how {
        0 => assert!(who(text).is_none() || text == KEY, "taken: {text}"),
        _ => {
            let Ok(claims) = serde_json::from_str::<Value>(text) else { return };
            let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).expect("a token");
            let Some(caller) = who(&token) else { return };
            let named = |claim: &str, value: &str| claims.get(claim).and_then(Value::as_str) == Some(value);
            assert!(named("iss", "issuer") && named("sub", &caller.subject) && named("tenant", caller.tenant.as_str()), "{claims}");
            assert!((1..=200).contains(&caller.subject.chars().count()) && !caller.subject.contains(char::is_control), "{claims}");
            assert!(claims.get("exp").and_then(Value::as_f64).is_some_and(|until| until > 1.7e9), "{claims}");
        }
    }
}

fn who(credential: &str) -> Option<Arc<Caller>> {
    static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
        let keys = wait(Keys::open(Source::Secret(SECRET.to_vec()))).expect("a secret");
        let expected = Expected { issuer: "issuer".to_owned(), audience: "bulkhead".to_owned() };
        let authenticator = Authenticator::new(keys, expected, NonZeroU32::MAX);
        let caller = Caller { scopes: Scopes::NONE, subject: "0123456789abcdef".into(), actor: ActorKind::Key, ..Caller::clone(&Caller::anybody()) };
        let hash = KeyHash::from_hex(KEY_HASH).expect("a hash");
        let issued = Issued { hash, caller: Arc::new(caller), until_s: None, revoked_s: None };
        authenticator.issue(HashMap::from([("0123456789abcdef".to_owned(), issued)]));
        authenticator
    });
    let by_bearer = wait(AUTHENTICATOR.authenticate(Presented { bearer: Some(credential), api_key: None }, None));
    let by_header = wait(AUTHENTICATOR.authenticate(Presented { bearer: None, api_key: Some(credential) }, None));
    assert_eq!(by_bearer, by_header);
    by_bearer.ok()
}
