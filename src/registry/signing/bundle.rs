//! PURE: the signature of an image as cosign reads it: a Sigstore bundle of version 0.3 with a DSSE
//! envelope around an in-toto statement, and the manifest that refers to the image.
//!
//! Source: the Sigstore bundle specification (`sigstore_bundle.proto`), the DSSE protocol ("PAE"),
//! the in-toto attestation specification, and the cosign bundle specification for OCI registries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wharfinger_base::Timestamp;
use wharfinger_oci::Digest;

use crate::model::Image;

/// The media type of the bundle, and the artifact type of its manifest.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD: &str = "application/vnd.in-toto+json";
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The config of a manifest that has none (OCI image specification, "Guidance for an Empty
/// Descriptor").
pub(super) const EMPTY_CONFIG: &[u8] = b"{}";

/// The in-toto statement that says: this image is signed.
pub(super) fn statement(image: &Digest) -> Vec<u8> {
    let text = image.to_string();
    let (algorithm, hash) = text.split_once(':').unwrap_or_default();
    let subject = json!({
        "digest": {algorithm: hash},
        "annotations": {},
    });
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": PREDICATE,
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

/// The bytes that are signed: the pre-authentication encoding of DSSE.
pub(super) fn signed_bytes(statement: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), statement.len());
    [head.as_bytes(), statement].concat()
}

/// The bundle. `key_id` names the public key: the hash of its DER encoding.
pub(super) fn bundle(key_id: &[u8], statement: &[u8], signature: &[u8]) -> Vec<u8> {
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(key_id)}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    bundle.to_string().into_bytes()
}

/// The manifest that makes the bundle a referrer of the image.
pub(super) fn manifest(
    image: &Image,
    bundle: (&Digest, usize),
    config: &Digest,
    pushed_at: Timestamp,
) -> Vec<u8> {
    let (digest, size) = bundle;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": BUNDLE,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": config,
            "size": EMPTY_CONFIG.len(),
        },
        "layers": [{"mediaType": BUNDLE, "digest": digest, "size": size}],
        "subject": {
            "mediaType": image.media_type.to_string(),
            "digest": image.digest,
            "size": image.manifest_size,
        },
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": PREDICATE,
            "org.opencontainers.image.created": pushed_at.to_rfc3339(),
        },
    });
    manifest.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::{Algorithm, Manifest, MediaType};

    use super::*;
    use crate::model::ImageStatus;

    #[test]
    fn the_signed_bytes_are_those_of_the_protocol() {
        // The example of the DSSE specification, with this payload type.
        let expected = b"DSSEv1 28 application/vnd.in-toto+json 11 hello world";
        assert_eq!(signed_bytes(b"hello world"), expected);
    }

    #[test]
    fn the_same_signature_makes_the_same_bytes() {
        let digest = Digest::of(Algorithm::Sha256, b"image");
        let image = Image {
            id: 1,
            digest,
            media_type: MediaType::parse(MediaType::OCI_INDEX).expect("one"),
            artifact_type: None,
            subject: None,
            content_size: 1,
            manifest_size: 7,
            pushed_at: Timestamp::from_ms(0),
            pulled_at: None,
            status: ImageStatus::Active,
            archived_at: None,
            activated_at: None,
        };
        let make = || {
            let statement = statement(&digest);
            let bundle = bundle(b"key", &statement, b"signature");
            let of = Digest::of(Algorithm::Sha256, &bundle);
            let config = Digest::of(Algorithm::Sha256, EMPTY_CONFIG);
            manifest(
                &image,
                (&of, bundle.len()),
                &config,
                Timestamp::from_ms(1_000),
            )
        };
        assert_eq!(make(), make());
        let parsed = Manifest::parse(&make(), None).expect("a manifest");
        assert_eq!(parsed.subject.expect("a subject").digest, digest);
        assert_eq!(parsed.artifact_type.as_deref(), Some(BUNDLE));
    }
}
