//! Signs a request to our AWS APIs (Signature Version 4, header form), independently of the code
//! that verifies it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wharfinger_base::{Clock, Timestamp};

use super::request::Request;

/// An access key, as the server's `export` lines give it.
#[derive(Clone, Debug)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) region: String,
}

/// `YYYYMMDD'T'HHMMSS'Z'` of an RFC 3339 time in UTC.
fn basic_format(now: Timestamp) -> String {
    let mut text: String = now
        .to_rfc3339()
        .chars()
        .take(19)
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    text.push('Z');
    text
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A signed AWS JSON 1.1 call of ECR's `operation` with this body.
pub(crate) fn ecr_call(key: &AccessKey, operation: &str, body: String) -> Request {
    let time = basic_format(Clock::System.now());
    let (day, region) = (&time[..8], &key.region);
    let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
    let body_hash = hex::encode(Sha256::digest(&body));
    let signed = "content-type;host;x-amz-date;x-amz-target";
    let canonical = format!(
        "POST\n/\n\ncontent-type:application/x-amz-json-1.1\n\
         host:127.0.0.1\nx-amz-date:{time}\nx-amz-target:{target}\n\n{signed}\n{body_hash}"
    );
    let scope = format!("{day}/{region}/ecr/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex::encode(Sha256::digest(&canonical))
    );
    let day_key = mac(format!("AWS4{}", key.secret).as_bytes(), day);
    let signing_key = mac(&mac(&mac(&day_key, region), "ecr"), "aws4_request");
    let headers = format!(
        "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Date: {time}\r\nX-Amz-Target: \
         {target}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, \
         Signature={}\r\n",
        key.id,
        hex::encode(mac(&signing_key, &to_sign))
    );
    Request::with_body(
        "POST",
        "/",
        &headers,
        [body.into(), bytes::Bytes::new()],
        200,
    )
    .kept()
}
