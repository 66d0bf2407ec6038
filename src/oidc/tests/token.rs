//! Which tokens are accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;
use wharfinger_base::Timestamp;

use super::*;
use crate::error::TokenError;
use crate::tests::{CLIENT, ISSUER, NOW, SigningKey, claims, expected};

fn now() -> Timestamp {
    Timestamp::from_ms(NOW * 1000)
}

#[test]
fn every_algorithm_verifies_its_own_tokens() {
    let keys = [
        SigningKey::es256("a"),
        SigningKey::es384("b"),
        SigningKey::rsa("c", "RS256"),
        SigningKey::rsa("d", "RS384"),
        SigningKey::rsa("e", "RS512"),
    ];
    let all: Vec<Value> = keys.iter().map(|key| key.public.clone()).collect();
    let set = json!({"keys": all}).to_string();
    let set = KeySet::parse(set.as_bytes()).expect("a key set");
    for key in &keys {
        let token = key.sign(&claims());
        let token = UnverifiedToken::read(&token).expect("a token");
        assert_eq!(token.issuer(), ISSUER);
        let identity = token.verify(&set, &expected(), now()).expect("verified");
        assert_eq!(identity.subject, "repo:team/web");
        assert_eq!(identity.audience, CLIENT);
        let others = keys
            .iter()
            .filter(|other| other.public["kid"] != key.public["kid"]);
        for other in others {
            // The same id on another key.
            let mut public = other.public.clone();
            public["kid"] = key.public["kid"].clone();
            public.as_object_mut().expect("a key").remove("alg");
            let set = json!({"keys": [public]}).to_string();
            let set = KeySet::parse(set.as_bytes()).expect("a key set");
            let wrong = token.verify(&set, &expected(), now());
            assert!(
                matches!(wrong, Err(TokenError::UnknownKey | TokenError::Signature)),
                "{wrong:?}"
            );
        }
    }
}

#[test]
fn algorithms_without_a_public_key_are_refused() {
    let key = SigningKey::rsa("c", "RS256");
    let signed = key.sign(&claims());
    let (_, rest) = signed.split_once('.').expect("a token");
    for algorithm in [
        "none", "None", "NONE", "HS256", "HS512", "PS256", "EdDSA", "ES512", "rs256", "",
    ] {
        let header = json!({"alg": algorithm, "kid": "c"}).to_string();
        let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        let error = UnverifiedToken::read(&token).err();
        assert_eq!(error, Some(TokenError::Algorithm), "{algorithm}");
    }
    // A public key as a shared secret, which readers who trust the header take.
    let set = json!({"keys": [{"kty": "oct", "kid": "c", "k": "c2VjcmV0", "alg": "RS256"}]});
    let set = KeySet::parse(set.to_string().as_bytes()).expect("a key set");
    let token = UnverifiedToken::read(&signed).expect("a token");
    assert!(!token.has_key_in(&set));
    assert_eq!(
        token.verify(&set, &expected(), now()),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn what_is_no_token_is_refused() {
    let token = SigningKey::es256("one").sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let with_header = |header: &Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{}.{}", parts[1], parts[2])
    };
    for bad in [
        String::new(),
        "a.b".to_owned(),
        "..".to_owned(),
        format!("{token}."),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.%.{}", parts[0], parts[2]),
        format!("{}.{}.=", parts[0], parts[1]),
        with_header(&json!({"alg": "ES256", "crit": ["exp"], "kid": "one"})),
        with_header(&json!({"alg": "ES256", "kid": "x".repeat(513)})),
        with_header(&json!({"kid": "one"})),
        with_header(&json!(["ES256"])),
        format!("{token}{}", "A".repeat(20_000)),
    ] {
        let error = UnverifiedToken::read(&bad).err();
        assert_eq!(error, Some(TokenError::Malformed), "{bad:.200}");
    }
}

#[test]
fn a_changed_token_is_refused() {
    let key = SigningKey::es256("one");
    let token = key.sign(&claims());
    let keys = KeySet::parse(&key.set()).expect("a key set");
    let mut other = claims();
    other["sub"] = json!("repo:team/other");
    let parts: Vec<&str> = token.split('.').collect();
    let forged = URL_SAFE_NO_PAD.encode(other.to_string());
    let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
    let forged = UnverifiedToken::read(&forged).expect("a token");
    assert_eq!(
        forged.verify(&keys, &expected(), now()),
        Err(TokenError::Signature)
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}|[A-Za-z0-9_.-]{0,120}") {
        prop_assert!(UnverifiedToken::read(&text).is_err());
    }

    #[test]
    fn a_damaged_token_is_never_accepted(at in 0_usize..400, damage in "[A-Za-z0-9_.-]") {
        let key = SigningKey::fixed();
        let mut token = key.sign(&claims()).into_bytes();
        let at = at % token.len();
        prop_assume!(token[at] != damage.as_bytes()[0]);
        // The last character of a part holds bits that count for nothing.
        prop_assume!(token.get(at + 1).is_some_and(|next| *next != b'.'));
        token[at] = damage.as_bytes()[0];
        let keys = KeySet::parse(&key.set()).expect("a key set");
        let token = String::from_utf8(token).expect("text");
        let result = UnverifiedToken::read(&token)
            .and_then(|token| token.verify(&keys, &expected(), now()));
        prop_assert!(result.is_err());
    }
}
