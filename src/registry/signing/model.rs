//! Keys of signing profiles, and signatures of images from the push to their end.

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;
use wharfinger_oci::Digest;

use crate::model::RepositoryId;

/// The key of a signing profile, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileKey {
    /// The ARN of the signing profile that names the key.
    pub profile: Arn,
    /// In PEM, as `cosign verify --key` reads it.
    pub public_key: String,
    pub created_at: Timestamp,
}

/// What has become of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureState {
    /// It is to be made, or to be tried again.
    Waiting,
    Complete,
    Failed,
}

/// A signature of an image by one profile, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureStatus {
    /// The ARN of the signing profile.
    pub profile: String,
    pub state: SignatureState,
    /// For one that has failed.
    pub failure: Option<SigningFailure>,
}

/// Why an image was not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningFailure {
    pub code: String,
    pub reason: String,
}

impl SigningFailure {
    pub(crate) fn new(code: &str, reason: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            reason: reason.into(),
        }
    }
}

/// A signature that waits, as it was claimed.
#[derive(Clone, Debug)]
pub(crate) struct WaitingSignature {
    pub(crate) repository: RepositoryId,
    pub(crate) digest: Digest,
    pub(crate) profile: String,
    /// Attempts until now, with the one that this claim is for.
    pub(crate) attempts: u32,
    pub(crate) due_at: Timestamp,
    /// When the image was pushed, which the signature's manifest tells.
    pub(crate) pushed_at: Timestamp,
    /// The signature, if an earlier attempt has made it.
    pub(crate) signature: Option<Vec<u8>>,
}
