//! Pulls the images of containers, signed in to their registries.
//!
//! Source: ECS developer guide, "Using non-AWS container images in Amazon ECS".

use serde::Deserialize;
use url::Url;
use wharfinger_base::Secret;
use wharfinger_ecs_protocol::{Container, EcrAuthData, Task};

use crate::context::Context;
use crate::image_reference::{EcrRegistry, PullSource};
use crate::images::{PullError, ResolvedImage, is_overridden};
use crate::keys::Keys;
use crate::runtime::RegistryLogin;

#[derive(Deserialize)]
struct PrivateLogin {
    username: String,
    password: String,
}

impl Context {
    /// Finds out which image of a registry a container needs, and signs in to pull it.
    ///
    /// # Errors
    /// [`PullError`].
    pub(crate) async fn resolve(
        &self,
        task: &Task,
        container: &Container,
    ) -> Result<ResolvedImage, PullError> {
        let source = self.images.source(container);
        let login = self.login(task, container, &source).await?;
        let digest = self.images.resolve(&source, login.as_ref()).await;
        Ok(ResolvedImage {
            source,
            login,
            digest,
        })
    }

    async fn login(
        &self,
        task: &Task,
        container: &Container,
        source: &PullSource,
    ) -> Result<Option<RegistryLogin>, PullError> {
        let stated = container.registry_authentication.as_ref();
        if let Some(secret) = stated.and_then(|stated| stated.asm_auth_data.as_ref()) {
            let keys = self
                .execution_keys(task)
                .await
                .map_err(PullError::Credentials)?;
            let login = self.private_login(&keys, secret.credentials_parameter.as_str());
            return login.await.map(Some);
        }
        let ecr = stated.and_then(|stated| stated.ecr_auth_data.as_ref());
        let (registry, endpoint, by_role) = match (ecr, &source.ecr) {
            (Some(data), _) => {
                let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
                let registry = EcrRegistry {
                    account: known(&data.registry_id),
                    region: known(&data.region),
                };
                (registry, amazons_endpoint(data), data.use_execution_role)
            }
            (None, Some(registry)) => (registry.clone(), None, true),
            (None, None) => return Ok(None),
        };
        let keys = if by_role {
            self.execution_keys(task)
                .await
                .map_err(PullError::Credentials)?
        } else {
            self.keys.get().await.map_err(PullError::Credentials)?
        };
        self.images.token(&keys, registry, endpoint).await.map(Some)
    }

    /// The user of another registry, out of a secret with `username` and `password`.
    async fn private_login(&self, keys: &Keys, secret: &str) -> Result<RegistryLogin, PullError> {
        let login = self.document(keys, secret, "`username` and `password`");
        let login: PrivateLogin = login.await.map_err(PullError::Secret)?;
        Ok(RegistryLogin {
            username: login.username,
            password: Secret::new(login.password),
        })
    }
}

/// The API of Amazon's registry. `None` for the own one, which is reached by the agent's endpoint:
/// the one that the control plane names may be known to its own host only.
fn amazons_endpoint(data: &EcrAuthData) -> Option<Url> {
    if is_overridden(data) {
        return None;
    }
    Url::parse(&format!("https://api.ecr.{}.amazonaws.com", data.region)).ok()
}
