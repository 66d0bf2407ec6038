//! Pulls images, with tokens of the registry of ECR.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use url::Url;
use wharfinger_base::{Clock, Secret, Timestamp};
use wharfinger_ecs_protocol::{Container, EcrAuthData};

use crate::aws_client::{AwsClient, CallError, ECR, authority};
use crate::image_cleanup::{PulledImages, RecentPulls};
use crate::image_reference::{EcrRegistry, PullSource, pull_source};
use crate::keys::Keys;
use crate::runtime::{ContainerRuntime, RegistryLogin, RuntimeError};
use crate::state_folder::StateFolder;

/// Images that are pulled at once. Each is several layers at once already.
const PULLS_AT_ONCE: usize = 4;
/// Tokens that are kept: one for each role and registry.
const MAX_TOKENS: usize = 100;
/// A token is fetched again this long before it ends: the longest pull.
const RENEW_BEFORE: Duration = Duration::from_mins(30);

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PulledImage {
    /// The name that the runtime knows it by.
    pub(crate) reference: String,
    /// `sha256:…`, if the runtime tells it.
    pub(crate) digest: Option<String>,
}

/// An image that is to be pulled.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedImage {
    pub(crate) source: PullSource,
    pub(crate) login: Option<RegistryLogin>,
    /// `sha256:…`, if it is known before the pull.
    pub(crate) digest: Option<String>,
}

/// Why an image is not there: a reason as ECS gives it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error("CannotPullECRContainerError: {0}")]
    Token(CallError),
    #[error("CannotPullContainerError: {0}")]
    Credentials(String),
    #[error("{0}")]
    Secret(String),
    #[error("CannotPullContainerError: Error response from daemon: {0}")]
    Runtime(RuntimeError),
    #[error("DockerTimeoutError: Could not transition to pulled; {0}")]
    TimedOut(RuntimeError),
}

/// Who pulls: the access key, and the registry.
type TokenKey = (String, EcrRegistry, String);

/// Pulls images for the tasks of an instance.
pub(crate) struct Images {
    runtime: Arc<dyn ContainerRuntime>,
    client: AwsClient,
    clock: Clock,
    slots: Semaphore,
    pulled: PulledImages,
    tokens: Mutex<BTreeMap<TokenKey, (RegistryLogin, Timestamp)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenOutput {
    authorization_data: Vec<AuthorizationData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: String,
    expires_at: f64,
}

impl Images {
    /// Reads what an earlier run noted of its images.
    pub(crate) async fn open(
        runtime: Arc<dyn ContainerRuntime>,
        client: AwsClient,
        clock: Clock,
        state: StateFolder,
        recent: RecentPulls,
    ) -> Self {
        let pulled = PulledImages::open(Arc::clone(&runtime), clock.clone(), state, recent);
        Self {
            pulled: pulled.await,
            runtime,
            client,
            clock,
            slots: Semaphore::new(PULLS_AT_ONCE),
            tokens: Mutex::new(BTreeMap::new()),
        }
    }

    /// Where the image of a container is pulled from.
    pub(crate) fn source(&self, container: &Container) -> PullSource {
        let own_host = authority(self.client.endpoint());
        let mut source = pull_source(&container.image, &own_host, is_own(container));
        if let Some(digest) = container.image_digest.as_deref() {
            source.reference = with_digest(&source.reference, digest);
        }
        source
    }

    /// The digest that is to be pulled; `None` where the runtime does not tell it beforehand: then
    /// the pull tells it, or why there is none.
    pub(crate) async fn resolve(
        &self,
        source: &PullSource,
        login: Option<&RegistryLogin>,
    ) -> Option<String> {
        let image = &source.reference;
        if let Some((_, digest)) = image.split_once('@') {
            return Some(digest.to_owned());
        }
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok();
        match self.runtime.resolve(image, login).await {
            Ok(digest) => Some(digest),
            Err(error) => {
                tracing::debug!(image, %error, "the digest of a tag is not known before the pull");
                None
            }
        }
    }

    /// Pulls an image, with the digest that its tag had when it was looked at. One that cannot be
    /// pulled is used as it lies here, if it does, unless the registry refuses access: so does
    /// Amazon's agent.
    ///
    /// # Errors
    /// [`PullError`].
    pub(crate) async fn pull(&self, found: ResolvedImage) -> Result<PulledImage, PullError> {
        let ResolvedImage {
            source,
            login,
            digest: wanted,
        } = found;
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok();
        let pulled = self
            .pull_wanted(&source, login.as_ref(), wanted.clone())
            .await;
        let error = match pulled {
            Ok(Some(digest)) => {
                // By its tag the runtime may have another image when the container is made.
                let reference = with_digest(&source.reference, &digest);
                self.pulled.note(&[&source.reference, &reference]).await;
                return Ok(PulledImage {
                    reference,
                    digest: Some(digest),
                });
            }
            Ok(None) => {
                self.pulled.note(&[&source.reference]).await;
                return Ok(PulledImage {
                    reference: source.reference,
                    digest: None,
                });
            }
            Err(error @ RuntimeError::Unauthorized(_)) => return Err(PullError::Runtime(error)),
            Err(error) => error,
        };
        let image = &source.reference;
        let local = self.runtime.local_digests(image).await.ok();
        let Some(local) = local.and_then(|local| local_image(image, wanted.as_deref(), &local))
        else {
            return Err(match error {
                RuntimeError::TimedOut(_) => PullError::TimedOut(error),
                error => PullError::Runtime(error),
            });
        };
        tracing::warn!(image, %error, "the image was not pulled; the local one is used");
        Ok(local)
    }

    /// Pulls an image by its tag, and by its digest too where the tag has moved in the meantime.
    async fn pull_wanted(
        &self,
        source: &PullSource,
        login: Option<&RegistryLogin>,
        wanted: Option<String>,
    ) -> Result<Option<String>, RuntimeError> {
        self.pulled.begin(&source.reference).await;
        let told = self.runtime.pull(&source.reference, login).await?;
        let Some(wanted) = wanted else {
            // Podman tells no digests while it pulls.
            if told.is_some() {
                return Ok(told);
            }
            let local = self.runtime.local_digests(&source.reference).await;
            // With several, one is that of the image on one platform alone.
            return Ok(match local.unwrap_or_default().as_slice() {
                [digest] => Some(digest.clone()),
                _ => None,
            });
        };
        let by_digest = with_digest(&source.reference, &wanted);
        if told.as_ref() != Some(&wanted) && by_digest != source.reference {
            self.runtime.pull(&by_digest, login).await?;
        }
        Ok(Some(wanted))
    }

    /// Removes images that are not used any more, again and again.
    pub(crate) async fn clean_up(&self) {
        self.pulled.clean_up().await;
    }

    /// A token of ECR, fetched or known.
    ///
    /// # Errors
    /// [`PullError::Token`].
    pub(crate) async fn token(
        &self,
        keys: &Keys,
        registry: EcrRegistry,
        endpoint: Option<Url>,
    ) -> Result<RegistryLogin, PullError> {
        let client = self.client.at(endpoint, registry.region.as_deref());
        let key = (
            keys.access_key_id.clone(),
            registry,
            client.endpoint().to_string(),
        );
        let now = self.clock.now();
        {
            let mut tokens = self.tokens.lock().await;
            tokens.retain(|_, (_, expires)| *expires > now.plus(RENEW_BEFORE));
            if let Some((login, _)) = tokens.get(&key) {
                return Ok(login.clone());
            }
        }
        let body = match &key.1.account {
            Some(account) => json!({"registryIds": [account]}),
            None => json!({}),
        };
        let output: TokenOutput = client
            .call(keys, ECR, "GetAuthorizationToken", &body)
            .await
            .map_err(PullError::Token)?;
        let unreadable = |what: &str| PullError::Token(CallError::Unreadable(what.to_owned()));
        let data = output.authorization_data.into_iter().next();
        let data = data.ok_or_else(|| unreadable("it holds no token"))?;
        let decoded = STANDARD.decode(&data.authorization_token).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) = pair.ok_or_else(|| unreadable("its token has no password"))?;
        let login = RegistryLogin {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        };
        let expires = now.plus(lifetime(data.expires_at, now));
        let mut tokens = self.tokens.lock().await;
        if tokens.len() >= MAX_TOKENS {
            tokens.pop_first();
        }
        tokens.insert(key, (login.clone(), expires));
        Ok(login)
    }
}

/// Whether an image is of the control plane's own registry, if it says so.
fn is_own(container: &Container) -> Option<bool> {
    let stated = container.registry_authentication.as_ref()?;
    Some(is_overridden(stated.ecr_auth_data.as_ref()?))
}

/// Whether the control plane names a registry that is not Amazon's.
pub(crate) fn is_overridden(data: &EcrAuthData) -> bool {
    let endpoint = data.endpoint_override.as_deref();
    endpoint.is_some_and(|endpoint| !endpoint.is_empty())
}

/// How long a token holds that ends at `expires` (in seconds since the epoch).
fn lifetime(expires: f64, now: Timestamp) -> Duration {
    let seconds = expires - now.as_epoch_seconds();
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The reference with a digest in place of its tag.
fn with_digest(reference: &str, digest: &str) -> String {
    if reference.contains('@') {
        return reference.to_owned();
    }
    let name = match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    };
    format!("{name}@{digest}")
}

/// The image that lies here, in place of one that could not be pulled; `None` where the registry
/// told another digest. An older one is not told as the digest of a tag: it would become that of
/// the service.
fn local_image(reference: &str, wanted: Option<&str>, local: &[String]) -> Option<PulledImage> {
    let Some(wanted) = wanted else {
        return Some(PulledImage {
            reference: reference.to_owned(),
            digest: None,
        });
    };
    let is_here = local.iter().any(|digest| digest == wanted);
    is_here.then(|| PulledImage {
        reference: with_digest(reference, wanted),
        digest: Some(wanted.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_image_stands_in_only_for_the_digest_that_it_has() {
        let here = ["sha256:ab".to_owned(), "sha256:cd".to_owned()];
        let used = |wanted| local_image("web:1", wanted, &here);
        let found = used(None).expect("an image");
        assert_eq!((found.reference.as_str(), found.digest), ("web:1", None));
        let found = used(Some("sha256:cd")).expect("an image");
        assert_eq!(found.reference, "web@sha256:cd");
        assert_eq!(found.digest.as_deref(), Some("sha256:cd"));
        assert!(used(Some("sha256:ef")).is_none());
    }

    #[test]
    fn a_digest_takes_the_place_of_the_tag() {
        assert_eq!(
            with_digest("a:4566/web:1", "sha256:ab"),
            "a:4566/web@sha256:ab"
        );
        assert_eq!(
            with_digest("a:4566/web", "sha256:ab"),
            "a:4566/web@sha256:ab"
        );
        assert_eq!(with_digest("web@sha256:cd", "sha256:ab"), "web@sha256:cd");
    }

    #[test]
    fn a_refused_pull_is_told_in_the_words_of_the_engine() {
        let refused = RuntimeError::Unauthorized("pull access denied for web".to_owned());
        assert_eq!(
            PullError::Runtime(refused).to_string(),
            "CannotPullContainerError: Error response from daemon: pull access denied for web"
        );
    }

    #[test]
    fn tokens_hold_until_they_end() {
        let now = Timestamp::from_ms(10_000);
        assert_eq!(lifetime(70.0, now), Duration::from_mins(1));
        assert_eq!(lifetime(5.0, now), Duration::ZERO);
        assert_eq!(lifetime(f64::NAN, now), Duration::ZERO);
    }
}
