//! Signature Version 4, written from its published description.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::aws::Aws;

/// The `Authorization` header of a POST to `/` with these headers, which include `host` and
/// `x-amz-date`.
pub(crate) fn authorization(aws: &Aws, headers: &HeaderMap, body: &str) -> String {
    authorization_of(aws, "POST\n/\n", headers, body)
}

/// The same for any request: `target` is its method, path and canonical query, a line each.
pub(crate) fn authorization_of(aws: &Aws, target: &str, headers: &HeaderMap, body: &str) -> String {
    let date = headers["x-amz-date"].to_str().expect("text");
    let day = &date[..8];
    let scope = format!("{day}/{}/{}/aws4_request", aws.region, aws.service);
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let mut canonical = String::new();
    for name in &names {
        let value = headers[*name].to_str().expect("text").trim();
        canonical.extend([name, ":", value, "\n"]);
    }
    let names = names.join(";");
    let payload = hex::encode(Sha256::digest(body));
    let request = format!("{target}\n{canonical}\n{names}\n{payload}");
    let request = hex::encode(Sha256::digest(request));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
    let mut key = format!("AWS4{}", aws.secret).into_bytes();
    for part in [day, &aws.region, &aws.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex::encode(mac(&key, &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        aws.access_key_id
    )
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
