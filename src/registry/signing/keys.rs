//! Keys that sign images: ECDSA on the curve P-256, each under the name of a signing profile. The
//! private key is stored sealed under the master key.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use wharfinger_aws::Arn;
use wharfinger_base::Clock;
use wharfinger_db::{self as db, Db};
use wharfinger_iam::SecretSeal;

use crate::error::Error;
use crate::model::RegistryId;
use crate::signing::model::ProfileKey;
use crate::store::signing as store;

/// Characters of a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// Shortest and longest name of a signing profile (AWS Signer API reference, `profileName`).
const NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=64;

/// Operations on signing keys.
#[derive(Clone)]
pub struct SigningKeys {
    db: Db,
    clock: Clock,
    seal: SecretSeal,
}

/// A key pair that signs.
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    /// The hash of the public key's DER encoding.
    pub(super) key_id: [u8; 32],
}

impl SigningKeys {
    pub const fn new(db: Db, clock: Clock, seal: SecretSeal) -> Self {
        Self { db, clock, seal }
    }

    /// Makes a key under a name that has none.
    ///
    /// # Errors
    /// [`Error::SigningKeyName`] for a name that no profile may have; [`Error::SigningKeyExists`].
    pub async fn create(&self, registry: &RegistryId, name: &str) -> Result<ProfileKey, Error> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !NAME_CHARS.contains(&name.len()) || !name.bytes().all(legal) {
            return Err(Error::SigningKeyName(name.to_owned()));
        }
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| failed())?;
        let private = pair.to_pkcs8v1().map_err(|_| failed())?;
        let key = ProfileKey {
            profile: profile_arn(registry, name),
            public_key: pem(&public_der(&pair)?),
            created_at: self.clock.now(),
        };
        let sealed = Arc::new(self.seal.seal(&bound_to(&key.profile), private.as_ref()));
        let (registry, name, new) = (registry.clone(), name.to_owned(), key.clone());
        self.db
            .write(move |tx| {
                if store::insert_key(tx, &registry, &name, &new, &sealed)? {
                    Ok(())
                } else {
                    Err(Error::SigningKeyExists(name.clone()))
                }
            })
            .await?;
        Ok(key)
    }

    /// The key of this name.
    ///
    /// # Errors
    /// [`Error::NoSigningKey`].
    pub async fn find(&self, registry: &RegistryId, name: &str) -> Result<ProfileKey, Error> {
        let (registry, name) = (registry.clone(), name.to_owned());
        self.db
            .get(move |tx| {
                let found = store::key(tx, &registry, &name)?;
                let (public_key, _, created_at) =
                    found.ok_or_else(|| Error::NoSigningKey(name.clone()))?;
                Ok(ProfileKey {
                    profile: profile_arn(&registry, &name),
                    public_key,
                    created_at,
                })
            })
            .await
    }

    /// The key pair of a profile of the registry.
    ///
    /// # Errors
    /// [`Error::NoSigningKey`], also for a profile of another account or region.
    pub(super) async fn signer(
        &self,
        registry: &RegistryId,
        profile: &str,
    ) -> Result<Signer, Error> {
        let missing = || Error::NoSigningKey(profile.to_owned());
        let (_, name) = profile.rsplit_once('/').ok_or_else(missing)?;
        let arn = profile_arn(registry, name);
        if arn.as_str() != profile {
            return Err(missing());
        }
        let (of, name) = (registry.clone(), name.to_owned());
        let found = self
            .db
            .get(move |tx| Ok::<_, Error>(store::key(tx, &of, &name)?))
            .await?;
        let (_, sealed, _) = found.ok_or_else(missing)?;
        let opened = self.seal.open(&bound_to(&arn), &sealed);
        let opened = opened.map_err(|_| db::Error::other("a signing key does not open"))?;
        Signer::read(opened.reveal())
    }
}

impl Signer {
    fn read(private: &[u8]) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private);
        let pair = pair.map_err(|_| db::Error::other("a stored signing key"))?;
        let key_id = Sha256::digest(public_der(&pair)?).into();
        Ok(Self { pair, key_id })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| failed())?.as_ref().to_vec())
    }
}

/// The library gives no reason.
fn failed() -> Error {
    db::Error::other("a signing key could not be made or used").into()
}

fn public_der(pair: &EcdsaKeyPair) -> Result<Vec<u8>, Error> {
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| failed())?;
    Ok(der.as_ref().to_vec())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(PEM_LINE) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

fn profile_arn(registry: &RegistryId, name: &str) -> Arn {
    Arn::new(
        registry.region.partition(),
        "signer",
        registry.region.as_str(),
        registry.account.as_str(),
        &format!("/signing-profiles/{name}"),
    )
}

/// What the sealed key belongs to.
fn bound_to(profile: &Arn) -> String {
    format!("signing key {profile}")
}
