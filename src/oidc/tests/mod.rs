//! Keys and claims for tests of this crate.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::claims::Expected;

pub(super) const ISSUER: &str = "https://ci.example.com/jobs";
pub(super) const CLIENT: &str = "sts.example.com";
/// Seconds since the epoch.
pub(super) const NOW: i64 = 1_800_000_000;

/// The claims of a token that is accepted at [`NOW`].
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "repo:team/web",
        "aud": CLIENT,
        "exp": NOW + 300,
        "iat": NOW - 10,
        "nbf": NOW - 10,
    })
}

pub(super) fn expected() -> Expected<'static> {
    static CLIENTS: LazyLock<Vec<String>> =
        LazyLock::new(|| vec![CLIENT.to_owned(), "second".to_owned()]);
    Expected {
        issuer: ISSUER,
        client_ids: &CLIENTS,
    }
}

/// A key of a provider.
#[derive(Clone)]
pub(super) struct SigningKey {
    algorithm: Algorithm,
    encoding: EncodingKey,
    /// The public key as key sets have it.
    pub(super) public: Value,
}

impl SigningKey {
    pub(super) fn es256(id: &str) -> Self {
        Self::ec(id, Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(super) fn es384(id: &str) -> Self {
        Self::ec(id, Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    /// The same key at each call.
    pub(super) fn fixed() -> Self {
        static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256("fixed"));
        KEY.clone()
    }

    fn ec(id: &str, algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let key = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).expect("a key");
        Self::of(id, algorithm, EncodingKey::from_ec_der(key.as_ref()))
    }

    pub(super) fn rsa(id: &str, algorithm: &str) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let key = key.as_der().expect("a document");
        // The PKCS #8 document of a key of this length has 26 bytes before the key itself.
        let key = &key.as_ref()[26..];
        let algorithm = algorithm.parse().expect("an algorithm");
        Self::of(id, algorithm, EncodingKey::from_rsa_der(key))
    }

    fn of(id: &str, algorithm: Algorithm, encoding: EncodingKey) -> Self {
        install_crypto_provider();
        let jwk = Jwk::from_encoding_key(&encoding, algorithm).expect("a public key");
        let mut public = serde_json::to_value(jwk).expect("a document");
        public["kid"] = json!(id);
        Self {
            algorithm,
            encoding,
            public,
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.public["kid"].as_str().map(ToOwned::to_owned);
        encode(&header, claims, &self.encoding).expect("a token")
    }

    pub(super) fn sign_without_id(&self, claims: &Value) -> String {
        let header = Header::new(self.algorithm);
        encode(&header, claims, &self.encoding).expect("a token")
    }

    /// A key set with this key only.
    pub(super) fn set(&self) -> Vec<u8> {
        json!({"keys": [self.public]}).to_string().into_bytes()
    }
}

fn install_crypto_provider() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
