//! `OpenID` Connect (OIDC): verifies web-identity tokens, and gets the key sets of their providers
//! over HTTPS or from a file.
//!
//! [`UnverifiedToken::read`] says whose token it is, [`KeySets::of`] gets the provider's keys, and
//! [`UnverifiedToken::verify`] checks signature and claims. Only the last two results are to be
//! trusted.

mod claims;
mod configured;
mod error;
mod fetch;
mod key_set;
mod key_sets;
mod pinned_tls;
mod token;

pub use claims::{Expected, WebIdentity};
pub use configured::{ConfiguredKeySets, KeySetFileError};
pub use error::TokenError;
pub use key_set::{KeySet, KeySetError};
pub use key_sets::{KeySets, Provider, UnreachableKeys};
pub use token::UnverifiedToken;

#[cfg(test)]
mod tests;
