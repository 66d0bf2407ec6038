//! Key sets: the public keys of a provider (RFC 7517). PURE.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Most keys of each kind in one set (IAM user guide: "at most 100 RSA keys and 100 EC keys").
const MAX_KEYS_OF_KIND: usize = 100;
/// Longest modulus of an RSA key, in characters of Base64: 8,192 bits.
const MAX_MODULUS_CHARS: usize = 1_368;
/// Longest exponent of an RSA key, in characters of Base64: 64 bits. Longer ones only make
/// verification slow.
const MAX_EXPONENT_CHARS: usize = 11;

/// Why a text is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is not a JSON object with a list `keys`")]
    Malformed,
    #[error("the key set has more than {MAX_KEYS_OF_KIND} keys of one kind")]
    TooMany,
}

/// The keys of a provider that can verify tokens.
pub struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    kind: Kind,
    /// The one algorithm that the key is for, where it says so.
    algorithm: Option<Algorithm>,
    decoding: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
}

#[derive(Deserialize)]
struct RawKeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds, for other uses or with wrong members are left out, as
    /// RFC 7517, section 5, recommends.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let raw: RawKeySet = serde_json::from_slice(text).map_err(|_| KeySetError::Malformed)?;
        let keys: Vec<Key> = raw.keys.into_iter().filter_map(Key::read).collect();
        let count = |kinds: &[Kind]| keys.iter().filter(|key| kinds.contains(&key.kind)).count();
        let most = count(&[Kind::Rsa]).max(count(&[Kind::P256, Kind::P384]));
        if most > MAX_KEYS_OF_KIND {
            return Err(KeySetError::TooMany);
        }
        Ok(Self { keys })
    }

    /// The key of this id for this algorithm. A token without a key id has only one key to be
    /// verified with, or none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.is_for(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => match (fitting.next(), fitting.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            },
        }
        .map(|key| &key.decoding)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id);
        formatter.debug_list().entries(ids).finish()
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let other_use = !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        if other_use {
            return None;
        }
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => {
                let fits = key.n.len() <= MAX_MODULUS_CHARS && key.e.len() <= MAX_EXPONENT_CHARS;
                fits.then_some(Kind::Rsa)?
            }
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => Kind::P256,
                EllipticCurve::P384 => Kind::P384,
                _ => return None,
            },
            _ => return None,
        };
        let algorithm = match common.key_algorithm {
            None => None,
            Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
            Some(KeyAlgorithm::RS384) => Some(Algorithm::RS384),
            Some(KeyAlgorithm::RS512) => Some(Algorithm::RS512),
            Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
            Some(KeyAlgorithm::ES384) => Some(Algorithm::ES384),
            Some(_) => return None,
        };
        Some(Self {
            kind,
            algorithm,
            decoding: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
        })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let fits = match self.kind {
            Kind::Rsa => matches!(
                algorithm,
                Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512
            ),
            Kind::P256 => algorithm == Algorithm::ES256,
            Kind::P384 => algorithm == Algorithm::ES384,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wharfinger_base::Timestamp;

    use super::*;
    use crate::error::TokenError;
    use crate::tests::{NOW, SigningKey, claims, expected};
    use crate::token::UnverifiedToken;

    #[test]
    fn a_key_is_named_by_its_id_or_is_the_only_one() {
        let (one, two) = (SigningKey::es256("one"), SigningKey::es256("two"));
        let both = json!({"keys": [one.public, two.public]}).to_string();
        let both = KeySet::parse(both.as_bytes()).expect("a key set");
        let only = KeySet::parse(&one.set()).expect("a key set");
        let check = |token: &str, keys: &KeySet| {
            let token = UnverifiedToken::read(token).expect("a token");
            token
                .verify(keys, &expected(), Timestamp::from_ms(NOW * 1000))
                .err()
        };
        assert_eq!(check(&two.sign(&claims()), &both), None);
        assert_eq!(
            check(&two.sign(&claims()), &only),
            Some(TokenError::UnknownKey)
        );
        assert_eq!(check(&one.sign_without_id(&claims()), &only), None);
        assert_eq!(
            check(&one.sign_without_id(&claims()), &both),
            Some(TokenError::UnknownKey)
        );
        assert_eq!(
            check(&two.sign_without_id(&claims()), &only),
            Some(TokenError::Signature)
        );
    }

    #[test]
    fn keys_that_verify_nothing_are_left_out_and_too_many_are_refused() {
        let good = SigningKey::fixed().public;
        let changed = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let count = |keys: Vec<Value>| {
            let text = json!({"keys": keys}).to_string();
            KeySet::parse(text.as_bytes()).map(|set| set.keys.len())
        };
        assert_eq!(
            count(vec![good.clone(), changed("use", json!("sig"))]),
            Ok(2)
        );
        let left_out = vec![
            changed("use", json!("enc")),
            changed("alg", json!("HS256")),
            changed("crv", json!("P-521")),
            changed("kty", json!("oct")),
            changed("x", json!("%")),
            json!({"kty": "RSA", "n": "A".repeat(1_369), "e": "AQAB"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "A".repeat(12)}),
            json!({}),
            json!(7),
        ];
        assert_eq!(count(left_out), Ok(0));
        assert_eq!(count(vec![good.clone(); 100]), Ok(100));
        assert_eq!(count(vec![good.clone(); 101]), Err(KeySetError::TooMany));
        for bad in ["", "[]", "{}", r#"{"keys": {}}"#, "nothing"] {
            let error = KeySet::parse(bad.as_bytes()).err();
            assert_eq!(error, Some(KeySetError::Malformed), "{bad}");
        }
    }
}
