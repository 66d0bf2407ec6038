//! Signature Version 4, verified as a server does: what a request claims, and whether its signature
//! is valid. PURE.
//!
//! Source: AWS General Reference, "Signature Version 4 signing process", and the published test
//! test vectors (values in `tests`).

mod canonical;
mod error;
mod request;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use error::SignatureError;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
pub use request::Request;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wharfinger_base::{Secret, Timestamp};

/// How far a signer's clock may be off, either way.
pub const MAX_SKEW: Duration = Duration::from_mins(15);
/// Longest that a presigned URL may live.
pub const MAX_EXPIRES: Duration = Duration::from_hours(7 * 24);
/// The hash of a payload that its sender chose not to sign.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
/// Most headers a signature may name: far more than any client sends, and each costs a look-up.
const MAX_SIGNED_HEADERS: usize = 100;

/// `<key id>/<date>/<region>/<service>/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub access_key_id: String,
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
}

/// A secret key narrowed to one day, region and service.
#[derive(Clone, Debug)]
pub struct SigningKey(Secret<[u8; 32]>);

impl Credential {
    /// Derives the key that signatures in this scope are made with.
    #[must_use]
    pub fn signing_key(&self, secret: &str) -> SigningKey {
        let mut key = keyed(format!("AWS4{secret}").as_bytes(), self.date.as_bytes());
        for part in [self.region.as_str(), self.service.as_str(), TERMINATOR] {
            key = keyed(&key, part.as_bytes());
        }
        SigningKey(Secret::new(key))
    }
}

/// Where the signature was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Header,
    /// Presigned: good for so long after its time.
    Query {
        expires: Duration,
    },
}

/// What a signed request says about itself. None of it is proved before [`Claim::check_head`] and
/// [`Claim::verify_signature`] succeed.
#[derive(Clone, Debug)]
pub struct Claim {
    pub credential: Credential,
    pub security_token: Option<String>,
    form: Form,
    /// As listed: lower case, with `;` between.
    signed_headers: String,
    signature: String,
    time: Timestamp,
}

impl Claim {
    /// Reads the claim out of the `Authorization` header or the query; `None` for a request that
    /// bears no AWS signature at all.
    pub fn read(request: &Request<'_>) -> Result<Option<Self>, SignatureError> {
        if let Some(value) = request.headers.get(http::header::AUTHORIZATION) {
            let value = value.to_str().map_err(|_| SignatureError::NotAscii)?;
            return match value.split_once(' ') {
                Some((ALGORITHM, parameters)) => Self::from_header(request, parameters).map(Some),
                _ if value.starts_with("AWS4-") => Err(SignatureError::Algorithm(quoted(
                    value.split(' ').next().unwrap_or_default(),
                ))),
                _ => Ok(None),
            };
        }
        let pairs = canonical::query_pairs(request.query);
        if pairs
            .iter()
            .any(|(name, _)| name == "X-Amz-Algorithm" || name == "X-Amz-Signature")
        {
            return Self::from_query(&pairs).map(Some);
        }
        Ok(None)
    }

    /// Checks all that does not depend on the body: scope date, time and covered headers.
    pub fn check_head(&self, headers: &HeaderMap, now: Timestamp) -> Result<(), SignatureError> {
        let stamp = stamp(self.time);
        if self.credential.date != stamp[..8.min(stamp.len())] {
            return Err(SignatureError::ScopeDate {
                scope: self.credential.date.clone(),
                stamp,
            });
        }
        self.check_time(now)?;
        self.check_coverage(headers)
    }

    /// Checks the signature alone, after [`Claim::check_head`].
    pub fn verify_signature(
        &self,
        request: &Request<'_>,
        key: &SigningKey,
    ) -> Result<(), SignatureError> {
        let payload = payload_hash(request)?;
        let expected = self.signature(request, payload, key);
        if bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    /// The signature that this claim ought to bear.
    fn signature(&self, request: &Request<'_>, payload_hash: &str, key: &SigningKey) -> String {
        let canonical = canonical::request(
            request,
            &self.signed_headers,
            payload_hash,
            matches!(self.form, Form::Query { .. }),
        );
        let Credential {
            date,
            region,
            service,
            ..
        } = &self.credential;
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{date}/{region}/{service}/{TERMINATOR}\n{}",
            stamp(self.time),
            hex::encode(Sha256::digest(&canonical))
        );
        hex::encode(keyed(key.0.reveal(), to_sign.as_bytes()))
    }

    fn from_header(request: &Request<'_>, parameters: &str) -> Result<Self, SignatureError> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for parameter in parameters
            .split(',')
            .map(str::trim)
            .filter(|parameter| !parameter.is_empty())
        {
            let (name, value) = parameter
                .split_once('=')
                .ok_or_else(|| SignatureError::NotKeyValue(quoted(parameter)))?;
            match name {
                "Credential" => credential = Some(value),
                "SignedHeaders" => signed_headers = Some(value),
                "Signature" => signature = Some(value),
                _ => {}
            }
        }
        let time = header_time(request.headers);
        let missing: Vec<&'static str> = [
            ("Credential", credential.is_none()),
            ("Signature", signature.is_none()),
            ("SignedHeaders", signed_headers.is_none()),
            ("Date", time.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        let (Some(credential), Some(signed_headers), Some(signature), Some(time)) =
            (credential, signed_headers, signature, time)
        else {
            return Err(SignatureError::Incomplete(missing));
        };
        Ok(Self {
            credential: credential.parse()?,
            security_token: text(request.headers, "x-amz-security-token").map(str::to_owned),
            form: Form::Header,
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
            time,
        })
    }

    fn from_query(pairs: &[(String, String)]) -> Result<Self, SignatureError> {
        let find = |wanted: &'static str| {
            let mut found = pairs
                .iter()
                .filter(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str());
            // A parameter given twice could mean one thing to us and another to a proxy.
            found
                .next()
                .filter(|_| found.next().is_none())
                .ok_or(SignatureError::Parameter(wanted))
        };
        let algorithm = find("X-Amz-Algorithm")?;
        if algorithm != ALGORITHM {
            return Err(SignatureError::Algorithm(quoted(algorithm)));
        }
        let seconds = find("X-Amz-Expires")?
            .parse::<u64>()
            .map_err(|_| SignatureError::Expires)?;
        let expires = Duration::from_secs(seconds);
        if seconds == 0 || expires > MAX_EXPIRES {
            return Err(SignatureError::Expires);
        }
        Ok(Self {
            credential: find("X-Amz-Credential")?.parse()?,
            security_token: find("X-Amz-Security-Token").ok().map(str::to_owned),
            form: Form::Query { expires },
            signed_headers: find("X-Amz-SignedHeaders")?.to_owned(),
            signature: find("X-Amz-Signature")?.to_owned(),
            time: parse_stamp(find("X-Amz-Date")?)
                .ok_or(SignatureError::Parameter("X-Amz-Date"))?,
        })
    }

    fn check_time(&self, now: Timestamp) -> Result<(), SignatureError> {
        let lifetime = match self.form {
            Form::Header => MAX_SKEW,
            Form::Query { expires } => expires,
        };
        if self.time > now.plus(MAX_SKEW) {
            return Err(SignatureError::NotYet {
                time: stamp(self.time),
                latest: stamp(now.plus(MAX_SKEW)),
                now: stamp(now),
            });
        }
        if self.time.plus(lifetime) < now {
            let earliest = stamp(now.minus(lifetime));
            return Err(SignatureError::Expired {
                time: stamp(self.time),
                earliest,
                now: stamp(now),
                lifetime,
            });
        }
        Ok(())
    }

    /// `host` and every `x-amz-*` header steer what a request does, so the signature has to cover
    /// them.
    fn check_coverage(&self, headers: &HeaderMap) -> Result<(), SignatureError> {
        let names: Vec<&str> = self
            .signed_headers
            .split(';')
            .take(MAX_SIGNED_HEADERS + 1)
            .collect();
        if names.len() > MAX_SIGNED_HEADERS {
            return Err(SignatureError::TooManyHeaders);
        }
        if !names
            .iter()
            .any(|name| matches!(*name, "host" | ":authority"))
        {
            return Err(SignatureError::HostNotSigned);
        }
        let uncovered = headers
            .keys()
            .find(|name| name.as_str().starts_with("x-amz-") && !names.contains(&name.as_str()));
        uncovered.map_or(Ok(()), |name| {
            Err(SignatureError::HeaderNotSigned(name.as_str().to_owned()))
        })
    }
}

/// The `Authorization` header that signs `request`: over its host, its `x-amz-date` (which it must
/// have) and every other header it has. `None` where a date is missing.
#[must_use]
pub fn sign(
    request: &Request<'_>,
    access_key_id: &str,
    secret: &str,
    region: &str,
    service: &str,
) -> Option<String> {
    let time = header_time(request.headers)?;
    let date = stamp(time).get(..8)?.to_owned();
    let mut names: Vec<&str> = request
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| *name != "authorization")
        .collect();
    names.push("host");
    names.sort_unstable();
    names.dedup();
    let credential = Credential {
        access_key_id: access_key_id.to_owned(),
        date,
        region: region.to_owned(),
        service: service.to_owned(),
    };
    let (scope, signed_headers) = (
        format!("{}/{region}/{service}/{TERMINATOR}", credential.date),
        names.join(";"),
    );
    let key = credential.signing_key(secret);
    let claim = Claim {
        credential,
        security_token: None,
        form: Form::Header,
        signed_headers,
        signature: String::new(),
        time,
    };
    let signature = claim.signature(request, payload_hash(request).ok()?, &key);
    let signed_headers = claim.signed_headers;
    Some(format!(
        "{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={signed_headers}, \
         Signature={signature}"
    ))
}

/// A time as `x-amz-date` has it: `20150830T123600Z`.
#[must_use]
pub fn date(time: Timestamp) -> String {
    stamp(time)
}

impl std::str::FromStr for Credential {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        // A key id may hold slashes in theory; the scope is the last four parts.
        let mut parts = text.rsplitn(5, '/');
        let (terminator, service, region, date, key) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        );
        let (Some(terminator), Some(service), Some(region), Some(date), Some(key)) =
            (terminator, service, region, date, key)
        else {
            return Err(SignatureError::Credential(quoted(text)));
        };
        if terminator != TERMINATOR {
            return Err(SignatureError::Terminator(quoted(terminator)));
        }
        if key.is_empty() || service.is_empty() || region.is_empty() || date.len() != 8 {
            return Err(SignatureError::Credential(quoted(text)));
        }
        Ok(Self {
            access_key_id: key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        })
    }
}

/// Lower-case hexadecimal SHA-256 of a body, as canonical requests hold it.
#[must_use]
pub fn body_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The payload hash that the signer used: what it declared, where that is true of the body, else
/// the body's own.
fn payload_hash<'a>(request: &Request<'a>) -> Result<&'a str, SignatureError> {
    match text(request.headers, "x-amz-content-sha256") {
        None => Ok(request.body_hash),
        Some(UNSIGNED_PAYLOAD) => Ok(UNSIGNED_PAYLOAD),
        Some(declared) if declared.eq_ignore_ascii_case(request.body_hash) => Ok(request.body_hash),
        Some(_) => Err(SignatureError::PayloadHash),
    }
}

fn keyed(key: &[u8], data: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so there is no error to have.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// `20150830T123600Z`.
fn stamp(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.as_ms()).map_or_else(
        |_| String::new(),
        |instant| instant.strftime("%Y%m%dT%H%M%SZ").to_string(),
    )
}

fn parse_stamp(text: &str) -> Option<Timestamp> {
    // Length first: the parser would take shorter fields too.
    let time = (text.len() == 16)
        .then(|| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok())??;
    let instant = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_ms(instant.as_millisecond()))
}

fn header_time(headers: &HeaderMap) -> Option<Timestamp> {
    if let Some(value) = text(headers, "x-amz-date") {
        return parse_stamp(value);
    }
    let value = text(headers, "date")?;
    let written_out = || {
        jiff::fmt::rfc2822::parse(value)
            .ok()
            .map(|time| Timestamp::from_ms(time.timestamp().as_millisecond()))
    };
    parse_stamp(value).or_else(written_out)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the client sent, short enough to say back.
fn quoted(text: &str) -> String {
    text.chars().take(100).collect()
}
