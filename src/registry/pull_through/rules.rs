//! Rules of the pull-through cache: created, changed, listed and checked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Page, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_registry_client::{Credentials, Endpoint, RegistryClient, Upstream};

use crate::error::Error;
use crate::model::RegistryId;
use crate::pull_through::rule::{MAX_RULES, Prefix, PullThroughRule};
use crate::pull_through::secret::{SecretError, UpstreamSecrets};
use crate::pull_through::upstream_kind::UpstreamKind;
use crate::repositories::rows;
use crate::store::pull_through as store;

/// How long rules in memory are used: a change by another server takes effect after that.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Registries whose rules are in memory.
const MAX_KNOWN: usize = 1_024;

/// How upstream registries are reached.
#[derive(Clone)]
pub struct UpstreamAccess {
    pub client: RegistryClient,
    /// Where hosts of upstreams are reached instead, such as a mirror in a closed network.
    pub endpoints: HashMap<String, Endpoint>,
    pub secrets: Arc<dyn UpstreamSecrets>,
}

/// As whom the cache signs in at an upstream.
#[derive(Clone, Debug)]
pub enum UpstreamSignIn {
    Secret(Arn),
    Role(Arn),
}

impl UpstreamSignIn {
    fn set(&self, of: &mut PullThroughRule) {
        (of.credential, of.custom_role) = match self {
            Self::Secret(arn) => (Some(arn.clone()), None),
            Self::Role(arn) => (None, Some(arn.clone())),
        };
    }
}

/// Operations on rules.
#[derive(Clone)]
pub struct PullThroughRules {
    db: Db,
    clock: Clock,
    access: UpstreamAccess,
    known: Arc<Mutex<HashMap<RegistryId, Known>>>,
}

/// The rules of a registry, as they were a moment ago.
#[derive(Clone)]
struct Known {
    rules: Arc<[PullThroughRule]>,
    read_at: Timestamp,
}

/// A rule to create.
#[derive(Clone, Debug)]
pub struct NewPullThroughRule {
    pub prefix: Prefix,
    pub upstream_url: String,
    pub upstream_kind: UpstreamKind,
    pub upstream_prefix: Prefix,
    pub credential: Option<Arn>,
    pub custom_role: Option<Arn>,
}

impl PullThroughRules {
    pub fn new(db: Db, clock: Clock, access: UpstreamAccess) -> Self {
        Self {
            db,
            clock,
            access,
            known: Arc::default(),
        }
    }

    /// Creates a rule, after its secret was found.
    ///
    /// # Errors
    /// [`Error::PullThroughRuleExists`], [`Error::TooManyPullThroughRules`],
    /// [`Error::UpstreamSecret`].
    pub async fn create(
        &self,
        registry: &RegistryId,
        new: NewPullThroughRule,
    ) -> Result<PullThroughRule, Error> {
        let now = self.clock.now();
        let rule = PullThroughRule {
            registry: registry.clone(),
            prefix: new.prefix,
            upstream_url: new.upstream_url,
            upstream_kind: new.upstream_kind,
            upstream_prefix: new.upstream_prefix,
            credential: new.credential,
            custom_role: new.custom_role,
            created_at: now,
            updated_at: now,
        };
        self.check_secret(&rule).await?;
        let work = move |tx: &mut Tx<'_>| {
            if store::count_rules(tx, &rule.registry)? >= MAX_RULES.unsigned_abs() {
                return Err(Error::TooManyPullThroughRules {
                    limit: MAX_RULES.unsigned_abs(),
                });
            }
            if !store::insert_rule(tx, &rule)? {
                return Err(Error::PullThroughRuleExists {
                    prefix: rule.prefix.clone(),
                    registry: rule.registry.clone(),
                });
            }
            Ok(rule.clone())
        };
        let created = self.db.write(work).await;
        self.lock().remove(registry);
        created
    }

    /// Sets the secret of a rule, after it was found, or the role of one whose upstream is ECR.
    ///
    /// # Errors
    /// [`Error::NoSuchPullThroughRule`], [`Error::UpstreamSecret`], [`Error::UnsupportedUpstream`]
    /// for a role of another upstream.
    pub async fn set_sign_in(
        &self,
        registry: &RegistryId,
        prefix: &Prefix,
        sign_in: UpstreamSignIn,
    ) -> Result<PullThroughRule, Error> {
        let mut rule = self.get(registry, prefix).await?;
        if matches!(sign_in, UpstreamSignIn::Role(_)) && rule.upstream_kind != UpstreamKind::Ecr {
            return Err(Error::UnsupportedUpstream(rule.upstream_url));
        }
        sign_in.set(&mut rule);
        self.check_secret(&rule).await?;
        let now = self.clock.now();
        let changed = self.change(registry, prefix, move |tx, rule| {
            sign_in.set(rule);
            rule.updated_at = now;
            store::update_rule(tx, rule).map_err(Error::from)
        });
        changed.await
    }

    /// Deletes a rule. Images that came by it stay.
    ///
    /// # Errors
    /// [`Error::NoSuchPullThroughRule`].
    pub async fn delete(
        &self,
        registry: &RegistryId,
        prefix: &Prefix,
    ) -> Result<PullThroughRule, Error> {
        let deleted = self.change(registry, prefix, |tx, rule| {
            store::delete_rule(tx, &rule.registry, &rule.prefix).map_err(Error::from)
        });
        deleted.await
    }

    async fn change<A>(
        &self,
        registry: &RegistryId,
        prefix: &Prefix,
        apply: A,
    ) -> Result<PullThroughRule, Error>
    where
        A: Fn(&mut Tx<'_>, &mut PullThroughRule) -> Result<(), Error> + Send + Sync + 'static,
    {
        let (of, prefix) = (registry.clone(), prefix.clone());
        let work = move |tx: &mut Tx<'_>| {
            let rule = store::rule(tx, &of, &prefix)?;
            let mut rule = rule.ok_or_else(|| missing(&of, &prefix))?;
            apply(tx, &mut rule)?;
            Ok(rule)
        };
        let changed = self.db.write(work).await;
        self.lock().remove(registry);
        changed
    }

    /// The rule with exactly this prefix.
    ///
    /// # Errors
    /// [`Error::NoSuchPullThroughRule`].
    pub async fn get(
        &self,
        registry: &RegistryId,
        prefix: &Prefix,
    ) -> Result<PullThroughRule, Error> {
        let (of, wanted) = (registry.clone(), prefix.clone());
        let found = self.db.get(move |tx| store::rule(tx, &of, &wanted)).await?;
        found.ok_or_else(|| missing(registry, prefix))
    }

    /// Up to `limit` rules with prefixes after `after` in byte order; the page's key is the last
    /// prefix.
    pub async fn page(
        &self,
        registry: &RegistryId,
        after: &str,
        limit: usize,
    ) -> Result<Page<PullThroughRule>, Error> {
        let (registry, after) = (registry.clone(), after.to_owned());
        self.db
            .read(move |tx| {
                let found = store::rules(tx, &registry, &after, rows(limit))?;
                Ok(Page::of(found, limit, |rule| rule.prefix.to_string()))
            })
            .await
    }

    /// All rules of a registry, as they were at most a second ago.
    pub(super) async fn all(&self, registry: &RegistryId) -> Result<Arc<[PullThroughRule]>, Error> {
        let now = self.clock.now();
        if let Some(known) = self.lock().get(registry)
            && (0..known_ms()).contains(&(now.as_ms() - known.read_at.as_ms()))
        {
            return Ok(Arc::clone(&known.rules));
        }
        let of = registry.clone();
        let read = self.db.read(move |tx| store::rules(tx, &of, "", MAX_RULES));
        let rules: Arc<[PullThroughRule]> = read.await?.into();
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let read_at = now;
        known.insert(
            registry.clone(),
            Known {
                rules: Arc::clone(&rules),
                read_at,
            },
        );
        Ok(rules)
    }

    /// Reads the secret of the rule and signs in at the upstream. Returns why that fails, if it
    /// does.
    pub async fn validate(&self, rule: &PullThroughRule) -> Result<Option<String>, Error> {
        let upstream = match self.upstream(rule, None).await {
            Ok(upstream) => upstream,
            Err(Error::UpstreamSecret(SecretError::Failed)) => {
                return Err(SecretError::Failed.into());
            }
            Err(Error::UpstreamSecret(why)) => return Ok(Some(why.to_string())),
            Err(error) => return Err(error),
        };
        let outcome = self.access.client.ping(&upstream).await;
        Ok(outcome.err().map(|error| error.to_string()))
    }

    /// The upstream of a rule with its credentials.
    ///
    /// # Errors
    /// [`Error::UpstreamSecret`].
    pub(super) async fn upstream(
        &self,
        rule: &PullThroughRule,
        cdn_loop: Option<String>,
    ) -> Result<Upstream, Error> {
        if let Some(assumed) = &rule.custom_role {
            let (secrets, host) = (&self.access.secrets, &rule.upstream_url);
            let own = secrets.own_registry(&rule.registry, host, assumed).await?;
            return Ok(Upstream { cdn_loop, ..own });
        }
        let configured = self.access.endpoints.get(&rule.upstream_url).cloned();
        let endpoint = match configured {
            Some(endpoint) => endpoint,
            // The host was checked when the rule was made.
            None => Endpoint::https(&rule.upstream_url)
                .map_err(|_| Error::UnsupportedUpstream(rule.upstream_url.clone()))?,
        };
        Ok(Upstream {
            endpoint,
            credentials: self.credentials(rule).await?.map(Arc::new),
            cdn_loop,
            own_host: None,
        })
    }

    /// Checks that the secret of the rule can be read. Whether its value is of use is checked when
    /// it is used, as the value may be put later.
    async fn check_secret(&self, rule: &PullThroughRule) -> Result<(), Error> {
        let Some(arn) = &rule.credential else {
            return Ok(());
        };
        match self.access.secrets.value(&rule.registry, arn).await {
            Ok(_) | Err(SecretError::Malformed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn credentials(&self, rule: &PullThroughRule) -> Result<Option<Credentials>, Error> {
        let Some(arn) = &rule.credential else {
            return Ok(None);
        };
        let read = self.access.secrets.credentials(&rule.registry, arn);
        Ok(Some(read.await?))
    }

    pub(super) fn client(&self) -> &RegistryClient {
        &self.access.client
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RegistryId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known_ms() -> i64 {
    i64::try_from(KNOWN_FOR.as_millis()).unwrap_or(i64::MAX)
}

fn missing(registry: &RegistryId, prefix: &Prefix) -> Error {
    Error::NoSuchPullThroughRule {
        prefix: prefix.clone(),
        registry: registry.clone(),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use wharfinger_base::Secret;

    use super::*;
    use crate::MIGRATIONS;
    use crate::pull_through::rule::tests::rule;

    /// One secret, of the name `known`.
    struct OneSecret;

    #[async_trait]
    impl UpstreamSecrets for OneSecret {
        async fn value(&self, _: &RegistryId, arn: &Arn) -> Result<Secret<String>, SecretError> {
            if arn.resource() == "secret:ecr-pullthroughcache/known" {
                let value = r#"{"username": "u", "accessToken": "t"}"#;
                return Ok(Secret::new(value.to_owned()));
            }
            if arn.resource() == "secret:ecr-pullthroughcache/text" {
                return Ok(Secret::new("text".to_owned()));
            }
            Err(SecretError::NotFound)
        }
    }

    fn rules() -> PullThroughRules {
        let db = Db::memory(MIGRATIONS).expect("an index");
        let clock = Clock::manual(Timestamp::from_ms(1_000));
        let access = UpstreamAccess {
            client: RegistryClient::new(std::iter::empty(), clock.clone()),
            endpoints: HashMap::new(),
            secrets: Arc::new(OneSecret),
        };
        PullThroughRules::new(db, clock, access)
    }

    fn new(prefix: &str, secret: Option<&str>) -> NewPullThroughRule {
        let arn = |name| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}");
        NewPullThroughRule {
            prefix: Prefix::new(prefix),
            upstream_url: "quay.io".to_owned(),
            upstream_kind: UpstreamKind::Quay,
            upstream_prefix: Prefix::root(),
            credential: secret.map(|name| arn(name).parse().expect("an ARN")),
            custom_role: None,
        }
    }

    #[tokio::test]
    async fn rules_are_created_changed_listed_and_deleted() {
        let (rules, registry) = (rules(), rule("a", "ROOT").registry);
        assert!(rules.all(&registry).await.expect("rules").is_empty());
        let made = rules.create(&registry, new("b/", None)).await;
        assert_eq!(made.expect("created").prefix.as_str(), "b");
        // What this server has changed counts at once.
        assert_eq!(rules.all(&registry).await.expect("rules").len(), 1);
        let twice = rules.create(&registry, new("b", None)).await;
        assert!(matches!(twice, Err(Error::PullThroughRuleExists { .. })));
        let unknown = rules
            .create(&registry, new("c", Some("ecr-pullthroughcache/x")))
            .await;
        assert!(matches!(
            unknown,
            Err(Error::UpstreamSecret(SecretError::NotFound))
        ));
        let known = Some("ecr-pullthroughcache/known");
        rules
            .create(&registry, new("a", known))
            .await
            .expect("created");
        let page = rules.page(&registry, "", 1).await.expect("a page");
        assert_eq!(page.items[0].prefix.as_str(), "a");
        assert_eq!(page.next.as_deref(), Some("a"));
        let (prefix, arn) = (Prefix::new("b"), new("", known).credential.expect("an ARN"));
        let sign_in = UpstreamSignIn::Secret(arn.clone());
        let changed = rules.set_sign_in(&registry, &prefix, sign_in).await;
        assert_eq!(changed.expect("changed").credential, Some(arn));
        let arn: Arn = "arn:aws:iam::123456789012:role/r".parse().expect("an ARN");
        let sign_in = UpstreamSignIn::Role(arn);
        let refused = rules.set_sign_in(&registry, &prefix, sign_in).await;
        assert!(matches!(refused, Err(Error::UnsupportedUpstream(_))));
        rules.delete(&registry, &prefix).await.expect("deleted");
        let gone = rules.delete(&registry, &prefix).await;
        assert!(matches!(gone, Err(Error::NoSuchPullThroughRule { .. })));
        assert_eq!(rules.all(&registry).await.expect("rules").len(), 1);
    }

    #[tokio::test]
    async fn the_value_of_a_secret_is_checked_when_it_is_used() {
        let (rules, registry) = (rules(), rule("a", "ROOT").registry);
        let text = Some("ecr-pullthroughcache/text");
        let made = rules.create(&registry, new("a", text)).await;
        let why = rules.validate(&made.expect("created")).await;
        let why = why.expect("checked").expect("a reason");
        assert_eq!(why, SecretError::Malformed.to_string());
    }

    #[tokio::test]
    async fn a_registry_has_fifty_rules_at_most() {
        let (rules, registry) = (rules(), rule("a", "ROOT").registry);
        for number in 0..MAX_RULES {
            let made = rules.create(&registry, new(&format!("p{number}"), None));
            made.await.expect("created");
        }
        let more = rules.create(&registry, new("more", None)).await;
        assert!(matches!(
            more,
            Err(Error::TooManyPullThroughRules { limit: 50 })
        ));
    }
}
