//! Keys that requests are signed with, and where they come from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use wharfinger_base::{Clock, Secret, Timestamp};
use wharfinger_ecs_protocol::RoleCredentials;

/// Keys are fetched again this long before they end.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// An access key, with a session token where it is temporary.
#[derive(Clone, Debug)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
    pub session_token: Option<String>,
    /// When they end; `None` for those that do not.
    pub expires_at: Option<Timestamp>,
}

impl Keys {
    /// The keys of a role of a task.
    pub(crate) fn of_role(role: &RoleCredentials) -> Self {
        let expires: Option<jiff::Timestamp> = role.expiration.parse().ok();
        Self {
            access_key_id: role.access_key_id.clone(),
            secret_access_key: Secret::new(role.secret_access_key.clone()),
            session_token: Some(role.session_token.clone()).filter(|token| !token.is_empty()),
            expires_at: expires.map(|at| Timestamp::from_ms(at.as_millisecond())),
        }
    }
}

/// Gives the keys of a container instance.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Returns keys that hold for some time yet.
    ///
    /// # Errors
    /// What is missing, as a sentence for the log.
    async fn keys(&self) -> Result<Keys, String>;
}

/// The keys of an instance, kept until they end soon.
pub(crate) struct InstanceKeys {
    source: Arc<dyn KeySource>,
    clock: Clock,
    known: Mutex<Option<Keys>>,
}

impl InstanceKeys {
    pub(crate) fn new(source: Arc<dyn KeySource>, clock: Clock) -> Self {
        Self {
            source,
            clock,
            known: Mutex::new(None),
        }
    }

    /// # Errors
    /// Those of [`KeySource::keys`].
    pub(crate) async fn get(&self) -> Result<Keys, String> {
        let mut known = self.known.lock().await;
        let soon = self.clock.now().plus(RENEW_BEFORE);
        if let Some(keys) = known.as_ref()
            && keys.expires_at.is_none_or(|at| at > soon)
        {
            return Ok(keys.clone());
        }
        let keys = self.source.keys().await?;
        *known = Some(keys.clone());
        Ok(keys)
    }

    /// Forgets the keys, because the server refused them.
    pub(crate) async fn forget(&self) {
        *self.known.lock().await = None;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    /// Keys that never end.
    #[derive(Default)]
    pub(crate) struct TestKeys {
        /// How often they were fetched.
        pub(crate) fetched: AtomicUsize,
    }

    #[async_trait]
    impl KeySource for TestKeys {
        async fn keys(&self) -> Result<Keys, String> {
            self.fetched.fetch_add(1, Relaxed);
            Ok(Keys {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: Secret::new("secret".to_owned()),
                session_token: None,
                expires_at: None,
            })
        }
    }
}
