//! PURE: the signature of a webhook's request.
//!
//! The value of the header is `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY`
//! under the shared secret. The time lets a receiver refuse old requests that somebody sends again.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of the signature header.
pub(super) fn signature(secret: &[u8], unix_seconds: i64, body: &[u8]) -> String {
    let signed = Hmac::<Sha256>::new_from_slice(secret).map(|mut mac| {
        mac.update(unix_seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    });
    // HMAC takes keys of every length.
    let hex = signed.unwrap_or_default();
    format!("t={unix_seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value was computed by `openssl dgst -sha256 -hmac`.
    #[test]
    fn the_signature_is_that_of_openssl() {
        assert_eq!(
            signature(b"a secret of sixteen", 1_700_000_000, b"{\"a\":1}"),
            "t=1700000000,v1=fbd8ce753f0c0643c2d4fef4959c30b175367059e6f5453bddeb7b24a3d1ae24"
        );
    }
}
