//! The claims of a web-identity token. PURE.

use std::time::Duration;

use serde_json::{Map, Value};
use wharfinger_base::Timestamp;

use crate::error::TokenError;

/// How far the clocks of a provider and of this server may differ (IAM user guide,
/// "Create an OIDC identity provider in IAM").
const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// Latest time that a claim may hold, in seconds since the epoch: the year 9999.
const LATEST_SECONDS: f64 = 253_402_300_799.0;

/// What a token must hold.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider's URL.
    pub issuer: &'a str,
    /// The audiences that the provider may issue tokens for.
    pub client_ids: &'a [String],
}

/// A verified token: whom a provider vouches for.
#[derive(Clone, Debug, PartialEq)]
pub struct WebIdentity {
    pub issuer: String,
    pub subject: String,
    /// The authorized party (`azp`) where the token has one, else the audience that is a client id
    /// of the provider.
    pub audience: String,
    /// The claim `aud`, as a list.
    pub audiences: Vec<String>,
    pub expires_at: Timestamp,
    /// All claims, also those above.
    pub claims: Map<String, Value>,
}

impl WebIdentity {
    /// Checks the claims of a token with a valid signature.
    ///
    /// # Errors
    /// The first claim that is missing or wrong.
    pub(super) fn of(
        claims: Map<String, Value>,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        let text = |name| {
            let value = claims.get(name).and_then(Value::as_str);
            let value = value.filter(|value| !value.is_empty());
            value.ok_or(TokenError::Claim(name))
        };
        let (issuer, subject) = (text("iss")?, text("sub")?);
        if issuer != expected.issuer {
            return Err(TokenError::Issuer);
        }
        let audiences = texts(claims.get("aud"))
            .filter(|audiences| !audiences.is_empty())
            .ok_or(TokenError::Claim("aud"))?;
        let is_client = |audience: &str| expected.client_ids.iter().any(|id| id == audience);
        let audience = match claims.get("azp") {
            Some(_) => Some(text("azp")?).filter(|party| is_client(party)),
            None => audiences.iter().copied().find(|one| is_client(one)),
        };
        let audience = audience.ok_or(TokenError::Audience)?;
        let expires_at = time(&claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        let issued_at = time(&claims, "iat")?.ok_or(TokenError::Claim("iat"))?;
        if expires_at.plus(CLOCK_SKEW) <= now {
            return Err(TokenError::Expired { expires_at });
        }
        let begins_at = time(&claims, "nbf")?.map_or(issued_at, |begin| begin.max(issued_at));
        if begins_at > now.plus(CLOCK_SKEW) {
            return Err(TokenError::NotYetValid);
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            audience: audience.to_owned(),
            audiences: audiences.into_iter().map(ToOwned::to_owned).collect(),
            expires_at,
            claims,
        })
    }

    /// The values of a claim that is a text or a list of texts.
    #[must_use]
    pub fn texts(&self, claim: &str) -> Option<Vec<&str>> {
        texts(self.claims.get(claim))
    }
}

fn texts(value: Option<&Value>) -> Option<Vec<&str>> {
    match value? {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// A time in seconds since the epoch, with or without a fraction.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64();
    let seconds = seconds.filter(|seconds| (0.0..=LATEST_SECONDS).contains(seconds));
    let seconds = seconds.ok_or(TokenError::Claim(name))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range above is far within 64 bits"
    )]
    let ms = (seconds * 1000.0) as i64;
    Ok(Some(Timestamp::from_ms(ms)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::{CLIENT, ISSUER, NOW, claims, expected};

    fn verified(claims: &Value) -> Result<WebIdentity, TokenError> {
        let claims = claims.as_object().expect("claims").clone();
        WebIdentity::of(claims, &expected(), Timestamp::from_ms(NOW * 1000))
    }

    #[test]
    fn claims_are_required_and_compared() {
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            verified(&claims).map(|identity| identity.audience)
        };
        let without = |name: &str| {
            let mut claims = claims();
            claims.as_object_mut().expect("claims").remove(name);
            verified(&claims).map(drop)
        };
        for name in ["iss", "sub", "aud", "exp", "iat"] {
            assert_eq!(without(name), Err(TokenError::Claim(name)));
            assert_eq!(with(name, json!({})), Err(TokenError::Claim(name)));
        }
        assert_eq!(without("nbf"), Ok(()));
        let issuer = with("iss", json!(format!("{ISSUER}/")));
        assert_eq!(issuer, Err(TokenError::Issuer));
        assert_eq!(with("sub", json!("")), Err(TokenError::Claim("sub")));
        for (audience, expected) in [
            (json!([CLIENT]), Ok(CLIENT.to_owned())),
            (json!(["x", "second"]), Ok("second".to_owned())),
            (json!(["x", "y"]), Err(TokenError::Audience)),
            (json!("x"), Err(TokenError::Audience)),
            (json!([]), Err(TokenError::Claim("aud"))),
            (json!([CLIENT, 1]), Err(TokenError::Claim("aud"))),
        ] {
            assert_eq!(with("aud", audience.clone()), expected, "{audience}");
        }
        assert_eq!(with("azp", json!("second")), Ok("second".to_owned()));
        assert_eq!(with("azp", json!("x")), Err(TokenError::Audience));
        assert_eq!(with("azp", json!(["x"])), Err(TokenError::Claim("azp")));
    }

    #[test]
    fn times_have_five_minutes_of_skew() {
        let with = |name: &str, seconds: f64| {
            let mut claims = claims();
            claims[name] = json!(seconds);
            verified(&claims).map(drop)
        };
        #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
        let now = NOW as f64;
        assert_eq!(with("exp", now - 299.0), Ok(()));
        let expires_at = Timestamp::from_ms((NOW - 300) * 1000);
        assert_eq!(
            with("exp", now - 300.0),
            Err(TokenError::Expired { expires_at })
        );
        for name in ["iat", "nbf"] {
            assert_eq!(with(name, now + 300.0), Ok(()));
            assert_eq!(with(name, now + 301.0), Err(TokenError::NotYetValid));
            assert_eq!(with(name, now - 86_400.0), Ok(()));
        }
        for wrong in [-1.0, 1e300] {
            assert_eq!(with("exp", wrong), Err(TokenError::Claim("exp")));
        }
    }
}
