//! A client of OCI registries: signs in as the registry requires, follows redirects without
//! credentials, and connects to addresses of the internet or of its configuration only.

mod addresses;
mod authorization;
mod blobs;
mod challenge;
mod client;
mod endpoint;
mod error;
mod http_clients;
mod manifests;
mod pace;
mod request;
mod retry_after;
#[cfg(test)]
mod tests;
mod uploads;

pub use blobs::BlobDownload;
pub use client::RegistryClient;
pub use endpoint::{Credentials, Endpoint, EndpointError, Upstream};
pub use error::{Error, RefusedRequest, WrongDigest};
pub use http_clients::{Authorities, AuthoritiesError};
pub use manifests::{FetchedManifest, ManifestUpload};
pub use request::{BlobUpload, UploadContent, UploadStream};

type Result<T, E = Error> = std::result::Result<T, E>;
