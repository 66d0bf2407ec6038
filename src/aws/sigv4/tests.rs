//! What a forger might try, and what the tests of the published vectors share.

mod vectors;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SCOPE: &str = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuF\
                     qwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp\
                     2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6\
                     d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4r\
                     vx3iSIlTJabIQwj2ICCR/oLxBA==";
const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A request by parts, which tests alter one at a time.
#[derive(Clone)]
struct Sent {
    method: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
    body: &'static str,
}

impl Sent {
    fn new(
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::try_from(*name).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: map,
            body,
        }
    }

    /// A published vector: host and date as all of them have, and the signature over `signed`.
    fn vector(
        method: &'static str,
        target: &str,
        extra: &[(&str, &str)],
        body: &'static str,
        signed: &str,
        signature: &str,
    ) -> Self {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={signed}, Signature={signature}"
        );
        let mut headers = vec![
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization),
        ];
        headers.extend_from_slice(extra);
        Self::new(method, target, &headers, body)
    }

    fn verify_at(&self, now: &str, secret: &str) -> Result<(), SignatureError> {
        let hash = body_hash(self.body.as_bytes());
        let request = Request {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: None,
            body_hash: &hash,
        };
        let claim = Claim::read(&request)?.expect("a signed request");
        verify(&claim, &request, secret, parse_stamp(now).expect("a time"))
    }

    fn verify(&self) -> Result<(), SignatureError> {
        self.verify_at("20150830T123600Z", SECRET)
    }

    fn set(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.headers
            .insert(name, HeaderValue::from_str(value).expect("a value"));
        self
    }
}

/// Verifies a claim as a server does.
fn verify(
    claim: &Claim,
    request: &Request<'_>,
    secret: &str,
    now: Timestamp,
) -> Result<(), SignatureError> {
    claim.check_head(request.headers, now)?;
    claim.verify_signature(request, &claim.credential.signing_key(secret))
}

fn vanilla() -> Sent {
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    Sent::vector("GET", "/", &[], "", "host;x-amz-date", signature)
}

#[test]
fn our_own_signer_makes_the_published_signature() {
    let vector = vanilla();
    let mut headers = vector.headers.clone();
    headers.remove("authorization");
    let hash = body_hash(b"");
    let request = Request {
        method: "GET",
        path: "/",
        query: "",
        headers: &headers,
        authority: None,
        body_hash: &hash,
    };
    let signed = sign(&request, "AKIDEXAMPLE", SECRET, "us-east-1", "service").expect("a date");
    assert_eq!(
        signed,
        vector.headers["authorization"].to_str().expect("text")
    );
    assert_eq!(
        date(parse_stamp("20150830T123600Z").expect("a time")),
        "20150830T123600Z"
    );
}

#[test]
fn a_stale_or_early_signature_is_refused() {
    for (now, good) in [
        ("20150830T125100Z", true),
        ("20150830T125101Z", false),
        ("20150830T122100Z", true),
        ("20150830T122059Z", false),
    ] {
        assert_eq!(vanilla().verify_at(now, SECRET).is_ok(), good, "{now}");
    }
    let error = vanilla()
        .verify_at("20150830T130000Z", SECRET)
        .expect_err("stale")
        .to_string();
    assert_eq!(
        error,
        "Signature expired: 20150830T123600Z is now earlier than 20150830T124500Z \
         (20150830T130000Z - 15 min.)"
    );
}

#[test]
fn what_is_not_covered_is_refused() {
    assert_eq!(
        vanilla().set("x-amz-target", "Other.Operation").verify(),
        Err(SignatureError::HeaderNotSigned("x-amz-target".into())),
        "an operation added after signing"
    );
    let without_host = vanilla().headers["authorization"]
        .to_str()
        .expect("text")
        .replace("host;", "");
    assert_eq!(
        vanilla().set("authorization", &without_host).verify(),
        Err(SignatureError::HostNotSigned)
    );
    assert_eq!(
        vanilla().set("x-amz-date", "20150830T123601Z").verify(),
        Err(SignatureError::Mismatch)
    );
    assert_eq!(
        vanilla().set("host", "example.com").verify(),
        Err(SignatureError::Mismatch)
    );
    assert_eq!(
        vanilla().verify_at("20150830T123600Z", "other"),
        Err(SignatureError::Mismatch)
    );
    let mut sent = vanilla();
    sent.set("x-amz-content-sha256", &body_hash(b"another body"));
    let signed = sent.headers["authorization"]
        .to_str()
        .expect("text")
        .replace("host;", "host;x-amz-content-sha256;");
    assert_eq!(
        sent.set("authorization", &signed).verify(),
        Err(SignatureError::PayloadHash)
    );
}

#[test]
fn malformed_claims_are_named() {
    let refused = |value: &str| {
        vanilla()
            .set("authorization", value)
            .verify()
            .expect_err("refused")
    };
    let good = vanilla().headers["authorization"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        refused("AWS4-HMAC-SHA256 Credential"),
        SignatureError::NotKeyValue("Credential".into())
    );
    assert_eq!(
        refused("AWS4-HMAC-SHA256 a=b"),
        SignatureError::Incomplete(vec!["Credential", "Signature", "SignedHeaders"])
    );
    assert_eq!(
        refused("AWS4-ECDSA-P256-SHA256 a=b"),
        SignatureError::Algorithm("AWS4-ECDSA-P256-SHA256".into())
    );
    assert_eq!(
        refused(&good.replace("aws4_request", "aws4")),
        SignatureError::Terminator("aws4".into())
    );
    assert!(matches!(
        refused(&good.replace("AKIDEXAMPLE/", "")),
        SignatureError::Credential(_)
    ));
    assert!(matches!(
        refused(&good.replace("20150830/", "20150831/")),
        SignatureError::ScopeDate { .. }
    ));
    let request = |headers| Request {
        method: "GET",
        path: "/",
        query: "",
        headers,
        authority: None,
        body_hash: "",
    };
    let (none, mut basic) = (HeaderMap::new(), HeaderMap::new());
    basic.insert("authorization", HeaderValue::from_static("Basic QVdTOng="));
    assert!(Claim::read(&request(&none)).expect("readable").is_none());
    assert!(Claim::read(&request(&basic)).expect("readable").is_none());
}

proptest! {
    #[test]
    fn no_request_makes_it_panic(
        authorization in "(AWS4-HMAC-SHA256 )?[A-Za-z=,/; 0-9]{0,80}",
        query in "(X-Amz-[A-Za-z]{4,9}=[%a-z0-9/]{0,9}&){0,6}",
        path in "\\PC{0,40}",
    ) {
        let mut sent = Sent::new("GET", "/", &[("authorization", &authorization)], "");
        (sent.path, sent.query) = (path, query);
        for _ in 0..2 {
            let request = Request {
                method: "GET",
                path: &sent.path,
                query: &sent.query,
                headers: &sent.headers,
                authority: None,
                body_hash: "",
            };
            if let Ok(Some(claim)) = Claim::read(&request) {
                prop_assert!(verify(&claim, &request, SECRET, Timestamp::from_ms(0)).is_err());
            }
            sent.headers.clear();
        }
    }

    #[test]
    fn the_order_of_parameters_is_irrelevant(
        mut pairs in proptest::collection::vec(("[a-zA-Z%+ ]{1,4}", "[a-z=/é]{0,4}"), 0..6),
    ) {
        let join = |pairs: &[(String, String)]| {
            let parameters = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            parameters.collect::<Vec<_>>().join("&")
        };
        let text = |query: &str| {
            let headers = HeaderMap::new();
            let request = Request {
                method: "GET",
                path: "/",
                query,
                headers: &headers,
                authority: None,
                body_hash: "",
            };
            canonical::request(&request, "host", "", false)
        };
        let forward = join(&pairs);
        pairs.reverse();
        prop_assert_eq!(text(&forward), text(&join(&pairs)));
    }
}
