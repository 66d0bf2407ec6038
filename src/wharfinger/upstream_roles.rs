//! ECR registries of this server as upstreams of its own pull-through cache: reached at its own
//! listener, as a role that the cache assumes.
//!
//! Source: ECR user guide, "IAM policies required for ECR to ECR cross-account pull through cache".

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Timestamp};
use wharfinger_iam::{
    self as iam, AccessRequest, Caller, ConditionContext, EvaluationBudget, Iam, NewRoleSession,
    PASSWORD_USER, PolicySet, Principal, Resource as _, TargetRole, TrustPolicy, evaluate,
};
use wharfinger_registry::{RegistryId, SecretError};
use wharfinger_registry_client::{Credentials, Endpoint, Upstream};

use crate::config::Config;
use crate::local_agents::own_endpoint;

/// The service that assumes the roles.
const SERVICE: &str = "pullthroughcache.ecr.amazonaws.com";
const ACTION: &str = "sts:AssumeRole";
const SESSION_NAME: &str = "ecr-pull-through-cache";
/// How long sessions hold: no role allows less, so that none refuses it.
const LIFETIME: Duration = Duration::from_hours(1);
/// How long the credentials of a session are used: an import may take a while.
const KNOWN_FOR: Duration = Duration::from_mins(15);
/// Roles whose credentials are in memory, at some 3 KiB each.
const KNOWN_ROLES: usize = 512;

/// A role, and the registry for which it is assumed.
type RoleKey = (RegistryId, String);

/// Assumes the roles of rules.
#[derive(Clone)]
pub(crate) struct UpstreamRoles {
    iam: Arc<Iam>,
    clock: Clock,
    endpoint: Option<Endpoint>,
    /// The domain by whose hosts clients name registries; any where there is none.
    domain: Option<String>,
    known: Arc<Cache<RoleKey, (Arc<Credentials>, Timestamp)>>,
}

impl UpstreamRoles {
    pub(crate) fn new(iam: &Arc<Iam>, clock: &Clock, config: &Config) -> Self {
        let endpoint = own_endpoint(config.listen, config.tls.is_some());
        Self {
            iam: Arc::clone(iam),
            clock: clock.clone(),
            endpoint: endpoint.as_str().parse().ok(),
            domain: config.names.domain.clone(),
            known: Arc::new(Cache::new(KNOWN_ROLES)),
        }
    }

    /// The registry of this server that a host names, as a role of the account of `registry`.
    ///
    /// # Errors
    /// [`SecretError::Role`], [`SecretError::Failed`].
    pub(crate) async fn upstream(
        &self,
        registry: &RegistryId,
        host: &str,
        role: &Arn,
    ) -> Result<Upstream, SecretError> {
        let endpoint = self.endpoint.clone().ok_or(SecretError::Failed)?;
        Ok(Upstream {
            endpoint,
            credentials: Some(self.credentials(registry, role).await?),
            cdn_loop: None,
            own_host: Some(own_host(host, self.domain.as_deref())),
        })
    }

    async fn credentials(
        &self,
        registry: &RegistryId,
        role: &Arn,
    ) -> Result<Arc<Credentials>, SecretError> {
        let (key, now) = ((registry.clone(), role.to_string()), self.clock.now());
        if let Some((credentials, read_at)) = self.known.get(&key)
            && (read_at..read_at.plus(KNOWN_FOR)).contains(&now)
        {
            return Ok(credentials);
        }
        let password = self.password(registry, role).await;
        let credentials = password.map_err(|error| match error {
            iam::Error::NoSuchRole(_) => SecretError::Role,
            error => {
                tracing::error!(%role, %error, "the role of a pull-through rule was not assumed");
                SecretError::Failed
            }
        })?;
        let credentials = Arc::new(credentials);
        self.known.insert(key, (Arc::clone(&credentials), now));
        Ok(credentials)
    }

    /// The registry password of a new session of the role.
    async fn password(&self, registry: &RegistryId, arn: &Arn) -> Result<Credentials, iam::Error> {
        let sessions = self.iam.role_sessions();
        let role = sessions.role(arn).await?;
        let service = Principal::Service(SERVICE.into());
        let caller = Caller::new(registry.account, service, Arc::default());
        if role.account() != registry.account || !self.is_trusted(registry, &caller, &role) {
            return Err(iam::Error::NoSuchRole(arn.to_string()));
        }
        let new = NewRoleSession {
            name: SESSION_NAME.to_owned(),
            duration: Some(LIFETIME),
            ..NewRoleSession::default()
        };
        let assumed = sessions.assume(&caller, &role, new).await?;
        let session = self.iam.session_caller(&assumed.session).await?;
        Ok(Credentials {
            username: PASSWORD_USER.to_owned(),
            password: self.iam.password_for(&session)?.token,
        })
    }

    /// Whether the trust policy of the role lets the cache assume it.
    fn is_trusted(&self, registry: &RegistryId, caller: &Caller, role: &TargetRole) -> bool {
        let account = [registry.account.as_str().to_owned()];
        let keys = [("aws:SourceAccount", account.as_slice())];
        let (trust, budget) = (role.trust_policy(), EvaluationBudget::default());
        let request = AccessRequest {
            caller,
            action: ACTION,
            resource: role.arn(),
            resource_account: role.account(),
            context: ConditionContext {
                extra: &keys,
                now: self.clock.now(),
                secure_transport: true,
                requested_region: Some(registry.region.as_str()),
                resource_tags: role.tags(),
                ..ConditionContext::default()
            },
            budget: &budget,
        };
        let policies = PolicySet {
            trust,
            ..PolicySet::of(caller, None)
        };
        trust == TrustPolicy::NotNeeded || evaluate(&request, &policies).is_allow()
    }
}

/// The host by which clients of this server name the registry that has this host at AWS.
fn own_host(host: &str, domain: Option<&str>) -> String {
    let registry = host.splitn(5, '.').take(4).collect::<Vec<_>>().join(".");
    match domain {
        Some(domain) => format!("{registry}.{domain}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_named_by_the_domain_of_this_server() {
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        assert_eq!(own_host(host, None), host);
        let own = own_host(host, Some("registry.test"));
        assert_eq!(own, "123456789012.dkr.ecr.eu-west-1.registry.test");
    }
}
