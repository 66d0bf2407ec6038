//! Client tokens of requests.

use serde::Serialize;
use wharfinger_orchestrator::ClientToken;

use crate::{Result, error};

/// The client token of a request to `operation`, with what makes two requests the same.
///
/// # Errors
/// `InvalidParameterException` unless it has 1 to `max` graphic characters of ASCII.
pub(super) fn client_token(
    operation: &'static str,
    request: &impl Serialize,
    token: &str,
    max: usize,
) -> Result<ClientToken> {
    let is_graphic = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_graphic || !(1..=max).contains(&token.len()) {
        return Err(error::invalid_parameter(format!(
            "clientToken must have 1 to {max} characters in the range of 33 to 126."
        )));
    }
    Ok(ClientToken {
        operation,
        token: token.to_owned(),
        request: serde_json::to_string(request).map_err(error::Error::internal)?,
    })
}
