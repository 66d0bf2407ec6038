//! Registries of other servers that images are replicated to, over the client of OCI registries.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use quick_cache::sync::Cache;
use wharfinger_base::{Chain, Clock, Secret, Timestamp};
use wharfinger_oci::{Digest, Reference, RepositoryName, Tag};
use wharfinger_registry::{
    self as registry, BlobSource, RegistryId, RemoteDestinations, RemoteError, RemoteManifest,
    RemoteRegistry, SecretError, UpstreamSecrets,
};
use wharfinger_registry_client::{
    self as client, Authorities, AuthoritiesError, BlobUpload, Credentials, ManifestUpload,
    RegistryClient, UploadContent, UploadStream, Upstream,
};

use crate::config::{DestinationConfig, DestinationSignIn};

/// How long a password is used without being read again.
const PASSWORD_KNOWN_FOR: Duration = Duration::from_mins(1);
/// Largest file with a password, in bytes. A password of ECR has some 2 KiB.
const MAX_PASSWORD_BYTES: usize = 16 * 1024;
/// Blobs whose repositories at a destination are in memory, at some 150 bytes each.
const KNOWN_BLOBS: usize = 8_192;
/// A file of a destination that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    #[error("cannot use the password file of the replication destination {0}")]
    Password(String, #[source] io::Error),
    #[error("cannot use the ca_file of the replication destination {0}")]
    Authorities(String, #[source] AuthoritiesError),
}

/// The configured destinations. Reads their certificates, and their passwords for a first time.
pub(crate) fn remote_destinations(
    configs: &[DestinationConfig],
    clock: &Clock,
    secrets: &Arc<dyn UpstreamSecrets>,
) -> Result<RemoteDestinations, DestinationError> {
    let registries = configs.iter().map(|config| {
        let destination = Destination::new(config, clock, secrets)?;
        let destination: Arc<dyn RemoteRegistry> = Arc::new(destination);
        Ok((config.registry.clone(), destination))
    });
    let registries: HashMap<_, _> = registries.collect::<Result<_, _>>()?;
    Ok(RemoteDestinations::new(registries))
}

/// Checks the files that the destinations name.
pub(crate) fn check(configs: &[DestinationConfig]) -> Result<(), DestinationError> {
    configs.iter().try_for_each(|config| {
        authorities(config)?;
        match &config.sign_in {
            DestinationSignIn::PasswordFile { path, .. } => {
                let read = password(path);
                read.map_err(|error| DestinationError::Password(name(config), error))?;
                Ok(())
            }
            DestinationSignIn::Anonymous | DestinationSignIn::Secret(_) => Ok(()),
        }
    })
}

fn authorities(config: &DestinationConfig) -> Result<Authorities, DestinationError> {
    let read = config.ca_file.as_deref().map(Authorities::read).transpose();
    let read = read.map_err(|error| DestinationError::Authorities(name(config), error))?;
    Ok(read.unwrap_or_default())
}

fn name(config: &DestinationConfig) -> String {
    let RegistryId { account, region } = &config.registry;
    format!("{account} in {region}")
}

/// The password in a file, without the line end after it.
fn password(path: &Path) -> io::Result<Secret<String>> {
    use std::io::Read as _;
    let mut text = String::new();
    let limit = MAX_PASSWORD_BYTES as u64 + 1;
    std::fs::File::open(path)?
        .take(limit)
        .read_to_string(&mut text)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > MAX_PASSWORD_BYTES {
        let why = format!("it must have 1 to {MAX_PASSWORD_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Secret::new(text.to_owned()))
}

/// A registry that another server holds.
struct Destination {
    config: DestinationConfig,
    client: RegistryClient,
    secrets: Arc<dyn UpstreamSecrets>,
    clock: Clock,
    /// The credentials and when they were read.
    known: Mutex<Option<(Arc<Credentials>, Timestamp)>>,
    /// Where blobs lie: a registry may link them from there into another repository.
    blobs: Cache<Digest, String>,
}

impl Destination {
    fn new(
        config: &DestinationConfig,
        clock: &Clock,
        secrets: &Arc<dyn UpstreamSecrets>,
    ) -> Result<Self, DestinationError> {
        check(std::slice::from_ref(config))?;
        let endpoints = std::iter::once(&config.endpoint);
        Ok(Self {
            config: config.clone(),
            client: RegistryClient::trusting(endpoints, authorities(config)?, clock.clone()),
            secrets: Arc::clone(secrets),
            clock: clock.clone(),
            known: Mutex::default(),
            blobs: Cache::new(KNOWN_BLOBS),
        })
    }

    /// The name that a repository has there.
    fn named(&self, repository: &RepositoryName) -> String {
        match &self.config.repository_prefix {
            Some(prefix) => format!("{}/{}", prefix.as_str(), repository.as_str()),
            None => repository.as_str().to_owned(),
        }
    }

    async fn upstream(&self) -> Result<Upstream, RemoteError> {
        Ok(Upstream {
            endpoint: self.config.endpoint.clone(),
            credentials: self.credentials().await.inspect_err(|error| {
                let destination = name(&self.config);
                tracing::warn!(destination, %error, "a replication has no credentials");
            })?,
            cdn_loop: None,
            own_host: None,
        })
    }

    async fn credentials(&self) -> Result<Option<Arc<Credentials>>, RemoteError> {
        let now = self.clock.now();
        if let Some((credentials, read_at)) = &*self.known()
            && (*read_at..read_at.plus(PASSWORD_KNOWN_FOR)).contains(&now)
        {
            return Ok(Some(Arc::clone(credentials)));
        }
        let credentials = match &self.config.sign_in {
            DestinationSignIn::Anonymous => return Ok(None),
            DestinationSignIn::PasswordFile { username, path } => {
                let (username, path) = (username.clone(), path.clone());
                let read = tokio::task::spawn_blocking(move || password(&path)).await;
                let read = read.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                let password = read.map_err(|error| unavailable(&unread(&error)))?;
                Credentials { username, password }
            }
            DestinationSignIn::Secret(arn) => {
                let account = arn.account_id();
                let (Some(account), Ok(region)) = (account, arn.region().parse()) else {
                    return Err(RemoteError::Denied(SecretError::NotFound.to_string()));
                };
                let home = RegistryId { account, region };
                let read = self.secrets.credentials(&home, arn).await;
                read.map_err(|error| match error {
                    SecretError::Failed => unavailable(&error),
                    error => RemoteError::Denied(error.to_string()),
                })?
            }
        };
        let credentials = Arc::new(credentials);
        *self.known() = Some((Arc::clone(&credentials), now));
        Ok(Some(credentials))
    }

    fn known(&self) -> MutexGuard<'_, Option<(Arc<Credentials>, Timestamp)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a replication that an error of the client is. It ends an attempt, so it is
    /// logged here, where the destination is known.
    fn failed(&self, error: client::Error, repository: &str) -> RemoteError {
        let destination = name(&self.config);
        tracing::warn!(destination, repository, %error, "a replication was not accepted");
        if let client::Error::Denied(_) = error {
            // The next attempt reads a password that was changed.
            *self.known() = None;
        }
        remote_error(error)
    }
}

fn unread(error: &io::Error) -> String {
    format!("its password file cannot be read: {error}")
}

fn unavailable(reason: &impl ToString) -> RemoteError {
    RemoteError::Unavailable {
        reason: reason.to_string(),
        retry_after: None,
    }
}

/// What an error of the client means for a replication.
fn remote_error(error: client::Error) -> RemoteError {
    use client::Error;
    let reason = error.to_string();
    match error {
        Error::TooManyRequests { retry_after } => RemoteError::Unavailable {
            reason,
            retry_after,
        },
        Error::Overloaded { why, retry_after } => RemoteError::Unavailable {
            reason: why,
            retry_after: Some(retry_after),
        },
        Error::Unavailable(why) => unavailable(&why),
        Error::Denied(why) => RemoteError::Denied(why),
        Error::Refused(refusal) => RemoteError::Refused(refusal.message),
        Error::Source(why) => {
            let error = io::Error::other(why);
            RemoteError::Content(registry::Error::Blobs(error.into()))
        }
        Error::NotFound
        | Error::Address(_)
        | Error::DigestMismatch(_)
        | Error::TooLarge { .. }
        | Error::Invalid(_) => RemoteError::Refused(reason),
    }
}

/// A blob of this server as the client reads it.
struct OwnBlob<'a> {
    source: &'a BlobSource,
    /// Why it could not be opened.
    failure: Mutex<Option<RemoteError>>,
}

impl UploadContent for OwnBlob<'_> {
    fn open(&self) -> BoxFuture<'_, io::Result<UploadStream>> {
        async {
            match self.source.open(0).await {
                Ok(reader) => Ok(reader.into_data_stream().boxed()),
                Err(error) => {
                    let why = Chain(&error).to_string();
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(io::Error::other(why))
                }
            }
        }
        .boxed()
    }
}

#[async_trait]
impl RemoteRegistry for Destination {
    fn accepts(&self, source: &RegistryId) -> bool {
        self.config.source_accounts.contains(&source.account)
    }

    async fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RemoteError> {
        let (upstream, name) = (self.upstream().await?, self.named(repository));
        let found = self.client.has_blob(&upstream, &name, digest).await;
        let found = found.map_err(|error| self.failed(error, &name))?;
        if found {
            self.blobs.insert(*digest, name);
        }
        Ok(found)
    }

    async fn put_blob(
        &self,
        repository: &RepositoryName,
        blob: &BlobSource,
    ) -> Result<(), RemoteError> {
        let (upstream, name) = (self.upstream().await?, self.named(repository));
        let content = OwnBlob {
            source: blob,
            failure: Mutex::default(),
        };
        let upload = BlobUpload {
            digest: *blob.digest(),
            size: blob.size(),
            content: &content,
        };
        let from = self.blobs.get(blob.digest());
        let from = from.filter(|from| *from != name);
        let put = self
            .client
            .put_blob(&upstream, &name, from.as_deref(), &upload);
        let put = put.await;
        let failure = content.failure.into_inner();
        match put {
            Ok(()) => {
                self.blobs.insert(*blob.digest(), name);
                Ok(())
            }
            Err(error @ client::Error::Source(_)) => {
                let failure = failure.unwrap_or_else(PoisonError::into_inner);
                Err(failure.unwrap_or_else(|| remote_error(error)))
            }
            Err(error) => Err(self.failed(error, &name)),
        }
    }

    async fn manifest_digest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, RemoteError> {
        let (upstream, name) = (self.upstream().await?, self.named(repository));
        match self
            .client
            .manifest_digest(&upstream, &name, reference)
            .await
        {
            // Some registries do not name the digest that a request named.
            Ok(None) => Ok(match reference {
                Reference::Digest(digest) => Some(*digest),
                Reference::Tag(_) => None,
            }),
            Ok(found) => Ok(found),
            Err(client::Error::NotFound) => Ok(None),
            Err(error) => Err(self.failed(error, &name)),
        }
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &RemoteManifest,
    ) -> Result<(), RemoteError> {
        let (upstream, name) = (self.upstream().await?, self.named(repository));
        let upload = ManifestUpload {
            digest: manifest.digest,
            media_type: manifest.media_type.as_str(),
            bytes: manifest.bytes.clone(),
        };
        let put = self
            .client
            .put_manifest(&upstream, &name, reference, &upload);
        let is_tag = matches!(reference, Reference::Tag(_));
        put.await.map_err(|error| match error {
            client::Error::Refused(why) if why.is_missing_content() => {
                RemoteError::MissingContent(why.message)
            }
            client::Error::Refused(why) if is_tag && why.is_immutable_tag() => {
                RemoteError::TagImmutable
            }
            error => self.failed(error, &name),
        })
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RemoteError> {
        self.delete(repository, &Reference::Digest(*digest)).await
    }

    async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), RemoteError> {
        self.delete(repository, &Reference::Tag(tag.clone())).await
    }
}

impl Destination {
    /// Deletes what a reference names, where the configuration passes deletions on.
    async fn delete(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(), RemoteError> {
        if !self.config.delete {
            return Ok(());
        }
        let (upstream, name) = (self.upstream().await?, self.named(repository));
        let deleted = self.client.delete_manifest(&upstream, &name, reference);
        deleted.await.map_err(|error| self.failed(error, &name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that a failure which may pass requests.
    fn requested(error: client::Error) -> Result<Option<Duration>, RemoteError> {
        match remote_error(error) {
            RemoteError::Unavailable { retry_after, .. } => Ok(retry_after),
            error => Err(error),
        }
    }

    #[test]
    fn a_registry_that_will_respond_later_is_tried_again() {
        let seven = Duration::from_secs(7);
        let limited = client::Error::TooManyRequests {
            retry_after: Some(seven),
        };
        assert_eq!(requested(limited).ok(), Some(Some(seven)));
        let overloaded = client::Error::Overloaded {
            why: String::new(),
            retry_after: seven,
        };
        assert_eq!(requested(overloaded).ok(), Some(Some(seven)));
        let down = client::Error::Unavailable("down".to_owned());
        assert_eq!(requested(down).ok(), Some(None));
        for lasting in [
            client::Error::Denied("no".to_owned()),
            client::Error::NotFound,
            client::Error::Address("http://10.0.0.1".to_owned()),
            client::Error::Invalid("?".to_owned()),
        ] {
            assert!(requested(lasting).is_err());
        }
    }

    #[test]
    fn a_password_is_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let read = |text: &[u8]| {
            std::fs::write(&path, text).expect("written");
            password(&path).map(Secret::into_inner).ok()
        };
        assert_eq!(read(b"a b:c\n").as_deref(), Some("a b:c"));
        assert_eq!(read(b"x\r\n").as_deref(), Some("x"));
        assert_eq!(read(b"\n"), None);
        assert_eq!(read("x".repeat(MAX_PASSWORD_BYTES + 1).as_bytes()), None);
        assert_eq!(read(b"\xff"), None);
        assert!(password(&folder.path().join("none")).is_err());
    }
}
