//! A client of OCI registries: signs in as the registry requires, follows redirects without
//! credentials, and connects to addresses of the internet or of its configuration only.

mod addresses;
mod authorization;
mod blobs;
mod challenge;
mod client;
mod endpoint;
mod error;
mod manifests;
mod retry_after;
#[cfg(test)]
mod tests;

pub use blobs::BlobDownload;
pub use client::{Access, RegistryClient};
pub use endpoint::{Credentials, Endpoint, EndpointError, Upstream};
pub use error::{Error, WrongDigest};
pub use manifests::FetchedManifest;

type Result<T, E = Error> = std::result::Result<T, E>;
