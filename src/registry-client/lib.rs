//! A client of OCI registries: signs in as the registry requires, follows redirects without
//! credentials, and connects to addresses of the internet or of its configuration only.

mod addresses;
mod authorization;
mod challenge;
mod client;
mod endpoint;
mod error;
mod retry_after;

pub use client::{Access, RegistryClient};
pub use endpoint::{Credentials, Endpoint, EndpointError, Upstream};
pub use error::Error;

type Result<T, E = Error> = std::result::Result<T, E>;
