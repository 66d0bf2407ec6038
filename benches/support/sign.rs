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
    let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", target.as_str()),
    ];
    call(key, "ecr", &headers, body)
}

/// A signed call of a service of the Query protocol: `Action` and its members as a form.
pub(crate) fn query_call(key: &AccessKey, service: &str, form: String) -> Request {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    call(key, service, &headers, form)
}

/// A signed POST with these headers, which are in the order of their names.
fn call(key: &AccessKey, service: &str, headers: &[(&str, &str)], body: String) -> Request {
    let time = basic_format(Clock::System.now());
    let (day, region) = (&time[..8], &key.region);
    let body_hash = hex::encode(Sha256::digest(&body));
    let mut all = vec![("Host", "127.0.0.1"), ("X-Amz-Date", &time)];
    all.extend(headers);
    all.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    let (mut names, mut values, mut lines) = (Vec::new(), String::new(), String::new());
    for (name, value) in all {
        let lower = name.to_ascii_lowercase();
        values.extend([lower.as_str(), ":", value, "\n"]);
        names.push(lower);
        if name != "Host" {
            lines.extend([name, ": ", value, "\r\n"]);
        }
    }
    let signed = names.join(";");
    let canonical = format!("POST\n/\n\n{values}\n{signed}\n{body_hash}");
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex::encode(Sha256::digest(&canonical))
    );
    let day_key = mac(format!("AWS4{}", key.secret).as_bytes(), day);
    let signing_key = mac(&mac(&mac(&day_key, region), service), "aws4_request");
    let headers = format!(
        "{lines}Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, \
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
