//! Whatever comes as a credential: only what was signed as it stands, or issued, is one.

use std::str::FromStr as _;

use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::json;

use super::key::ApiKey;
use super::keys::{Keys, Source};
use super::token::{Expected, verify};
use crate::clock;

const SECRET: &[u8] = b"thirty-two bytes that nobody knows";

/// Whether a token is taken.
fn is_taken(token: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let keys = Keys::open(Source::Secret(SECRET.to_vec())).await.unwrap();
        let expected = Expected { issuer: "issuer".to_owned(), audience: "bulkhead".to_owned() };
        verify(&keys, &expected, token).await.is_ok()
    })
}

fn good() -> String {
    let exp = clock::unix_ms() / 1000 + 600;
    let claims = json!({ "iss": "issuer", "aud": "bulkhead", "sub": "ada", "tenant": "acme", "exp": exp });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A text with one character replaced, removed or added.
fn changed(text: &str, at: prop::sample::Index, by: char, how: u8) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = at.index(chars.len());
    match how {
        0 => chars[at] = by,
        1 => drop(chars.remove(at)),
        _ => chars.insert(at, by),
    }
    chars.into_iter().collect()
}

#[test]
fn the_token_that_is_changed_below_is_good() {
    assert!(is_taken(&good()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_is_a_token(text in any::<String>()) {
        prop_assert!(!is_taken(&text));
    }

    #[test]
    fn no_parts_make_a_token(header in "[A-Za-z0-9_=-]{0,60}", claims in "[A-Za-z0-9_=-]{0,200}", signature in "[A-Za-z0-9_=-]{0,90}") {
        let token = format!("{header}.{claims}.{signature}");
        prop_assert!(!is_taken(&token));
    }

    #[test]
    fn a_token_is_good_only_as_it_stands(at in any::<prop::sample::Index>(), by in "[A-Za-z0-9_=. -]", how in 0u8..3) {
        let token = good();
        let other = changed(&token, at, by.chars().next().unwrap(), how);
        prop_assume!(other != token);
        prop_assert!(!is_taken(&other), "{other}");
    }

    #[test]
    fn a_key_reads_back_as_itself_and_no_other_text_as_it(at in any::<prop::sample::Index>(), by in any::<char>(), how in 0u8..3) {
        let key = ApiKey::generate();
        let text = key.reveal();
        prop_assert!(ApiKey::from_str(&text).is_ok_and(|read| read == key && read.reveal() == text));
        let other = changed(&text, at, by, how);
        prop_assert!(other == text || ApiKey::from_str(&other).map_or(true, |read| read != key));
    }

    #[test]
    fn no_text_breaks_the_reading_of_keys(text in any::<String>()) {
        prop_assert!(ApiKey::from_str(&text).is_err());
        let prefixed = format!("bhk_{text}");
        prop_assert!(ApiKey::from_str(&prefixed).is_err());
    }
}
