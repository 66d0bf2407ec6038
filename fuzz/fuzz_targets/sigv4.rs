//! Parses Signature Version 4 in an `Authorization` header or a presigned query. No signature made
//! without the secret verifies.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use wharfinger_aws::sigv4::{Claim, Request, body_hash};
use wharfinger_base::Timestamp;

fuzz_target!(|input: (&[u8], &str, &str, &[u8])| {
    let (authorization, date, query, body) = input;
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("localhost:4566"));
    if let Ok(value) = HeaderValue::from_bytes(authorization) {
        headers.insert(header::AUTHORIZATION, value);
    }
    if let Ok(value) = HeaderValue::from_str(date) {
        headers.insert("x-amz-date", value);
    }
    let hash = body_hash(body);
    let request = Request {
        method: "POST",
        path: "/",
        query,
        headers: &headers,
        authority: None,
        body_hash: &hash,
    };
    if let Ok(Some(claim)) = Claim::read(&request) {
        let now = Timestamp::from_ms(1_700_000_000_000);
        let key = claim.credential.signing_key("a secret that no input contains");
        let verified = claim
            .check_head(request.headers, now)
            .and_then(|()| claim.verify_signature(&request, &key));
        assert!(verified.is_err());
    }
});
