//! Why a signature is refused, and how AWS says so: JSON services and Query services name the same
//! thing differently.

use std::time::Duration;

use crate::common::Family;
use crate::fault::Fault;

/// Why a signed request is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the Authorization header is not ASCII text")]
    NotAscii,
    #[error("Unsupported AWS 'algorithm': '{0}'.")]
    Algorithm(String),
    #[error("'{0}' not a valid key=value pair (missing equal-sign) in Authorization header.")]
    NotKeyValue(String),
    #[error("{}", missing_parts(.0))]
    Incomplete(Vec<&'static str>),
    #[error(
        "AWS query-string parameters must include '{0}' exactly once, and well-formed. Re-examine \
         the query-string parameters."
    )]
    Parameter(&'static str),
    #[error("X-Amz-Expires must be a number of seconds, more than 0 and at most 604800 (a week).")]
    Expires,
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term, got '{0}'"
    )]
    Credential(String),
    #[error("Credential should be scoped with a valid terminator: 'aws4_request', not '{0}'.")]
    Terminator(String),
    #[error("Credential should be scoped to a valid region.")]
    Region,
    #[error("Credential should be scoped to correct service: '{0}'.")]
    Service(&'static str),
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope}' != '{day}', from '{stamp}'.",
        day = day(.stamp)
    )]
    ScopeDate { scope: String, stamp: String },
    #[error(
        "Signature expired: {time} is now earlier than {earliest} ({now} - {} min.)",
        .lifetime.as_secs() / 60
    )]
    Expired {
        time: String,
        earliest: String,
        now: String,
        lifetime: Duration,
    },
    #[error("Signature not yet current: {time} is still later than {latest} ({now} + 15 min.)")]
    NotYet {
        time: String,
        latest: String,
        now: String,
    },
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    #[error("There were headers present in the request which were not signed: {0}")]
    HeaderNotSigned(String),
    #[error("The signature names too many headers.")]
    TooManyHeaders,
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    PayloadHash,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service \
         documentation for details."
    )]
    Mismatch,
}

impl SignatureError {
    /// The refusal as a fault of the family's services.
    #[must_use]
    pub fn to_fault(&self, family: Family) -> Fault {
        let incomplete = matches!(
            self,
            Self::NotAscii
                | Self::Algorithm(_)
                | Self::NotKeyValue(_)
                | Self::Incomplete(_)
                | Self::Parameter(_)
                | Self::Expires
                | Self::Credential(_)
        );
        match (family, incomplete) {
            (Family::Json, true) => Fault::sender("IncompleteSignatureException", self.to_string()),
            (Family::Json, false) => Fault::sender("InvalidSignatureException", self.to_string()),
            (Family::Query, true) => Fault::sender("IncompleteSignature", self.to_string()),
            (Family::Query, false) => {
                Fault::sender("SignatureDoesNotMatch", self.to_string()).with_status(403)
            }
        }
    }
}

fn missing_parts(parts: &[&str]) -> String {
    let sentence = |part: &&str| match *part {
        "Date" => {
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
                .to_owned()
        }
        part => format!("Authorization header requires '{part}' parameter."),
    };
    parts.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

fn day(stamp: &str) -> &str {
    stamp.get(..8).unwrap_or_default()
}
