//! What an account sets for its whole registry: the policy, account settings, the scanning and the
//! signing configuration, and principals whose pulls are not recorded.

use serde::Serialize;
use wharfinger_base::{Clock, Page, Timestamp};
use wharfinger_db::{Db, Tx};

use crate::error::Error;
use crate::events::EventOutbox;
use crate::model::RegistryId;
use crate::repositories::rows;
use crate::scanning_rules::ScanningConfiguration;
use crate::scans::frequency_events;
use crate::signing::queue::SigningQueue;
use crate::signing::rules::SigningConfiguration;
use crate::store::{json, registry_settings as store};

/// Most principals whose pulls are not recorded: the longest list that the API shows at once.
const MAX_EXCLUSIONS: i64 = 100;

/// How often a scanning configuration is put whose events another one spoils.
const MAX_ATTEMPTS: usize = 5;

/// An account setting, by the name that the API has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSetting {
    BasicScanTypeVersion,
    RegistryPolicyScope,
    BlobMounting,
}

impl AccountSetting {
    const ALL: [Self; 3] = [
        Self::BasicScanTypeVersion,
        Self::RegistryPolicyScope,
        Self::BlobMounting,
    ];

    /// The setting of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::BasicScanTypeVersion => "BASIC_SCAN_TYPE_VERSION",
            Self::RegistryPolicyScope => "REGISTRY_POLICY_SCOPE",
            Self::BlobMounting => "BLOB_MOUNTING",
        }
    }

    /// The values that it may have, the default first. Mounts are on unless they are switched off,
    /// since the Distribution specification has them.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::BasicScanTypeVersion => &["AWS_NATIVE"],
            Self::RegistryPolicyScope => &["V2"],
            Self::BlobMounting => &["ENABLED", "DISABLED"],
        }
    }
}

/// Operations on the settings of a registry.
#[derive(Clone)]
pub struct RegistrySettings {
    db: Db,
    clock: Clock,
    signing: SigningQueue,
    events: EventOutbox,
}

impl RegistrySettings {
    pub(super) fn new(db: Db, clock: Clock, signing: SigningQueue) -> Self {
        let events = EventOutbox::default();
        Self {
            db,
            clock,
            signing,
            events,
        }
    }

    /// The same operations, whose changes are told to sinks.
    pub(super) fn with_events(self, events: EventOutbox) -> Self {
        Self { events, ..self }
    }

    /// Stores the text of a policy that was validated already.
    pub async fn put_policy(&self, registry: &RegistryId, text: String) -> Result<(), Error> {
        let (registry, now) = (registry.clone(), self.clock.now());
        self.db
            .write(move |tx| Ok(store::put_policy(tx, &registry, &text, now)?))
            .await
    }

    /// The text of the registry's policy.
    ///
    /// # Errors
    /// [`Error::NoRegistryPolicy`].
    pub async fn policy_text(&self, registry: &RegistryId) -> Result<String, Error> {
        let registry = registry.clone();
        self.db.get(move |tx| policy_text(tx, &registry)).await
    }

    /// Deletes the registry's policy and returns its text.
    ///
    /// # Errors
    /// [`Error::NoRegistryPolicy`].
    pub async fn delete_policy(&self, registry: &RegistryId) -> Result<String, Error> {
        let registry = registry.clone();
        self.db
            .write(move |tx| {
                let text = policy_text(tx, &registry)?;
                store::delete_policy(tx, &registry)?;
                Ok(text)
            })
            .await
    }

    /// The value of an account setting: the default where none was set.
    pub async fn account_setting(
        &self,
        registry: &RegistryId,
        setting: AccountSetting,
    ) -> Result<String, Error> {
        let registry = registry.clone();
        let stored = self
            .db
            .get(move |tx| store::get(tx, &registry, setting.name()))
            .await?;
        Ok(stored.unwrap_or_else(|| setting.values()[0].to_owned()))
    }

    /// Stores a value that the setting may have.
    pub async fn put_account_setting(
        &self,
        registry: &RegistryId,
        setting: AccountSetting,
        value: String,
    ) -> Result<(), Error> {
        let (registry, now) = (registry.clone(), self.clock.now());
        self.db
            .write(move |tx| Ok(store::put(tx, &registry, setting.name(), &value, now)?))
            .await
    }

    /// Whether blobs may be mounted from other repositories.
    pub async fn mounts_blobs(&self, registry: &RegistryId) -> Result<bool, Error> {
        let value = self.account_setting(registry, AccountSetting::BlobMounting);
        Ok(value.await? == "ENABLED")
    }

    /// The scanning configuration: the default where none was set.
    pub async fn scanning(&self, registry: &RegistryId) -> Result<ScanningConfiguration, Error> {
        let registry = registry.clone();
        self.db
            .get(move |tx| Ok(store::scanning(tx, &registry)?))
            .await
    }

    pub async fn put_scanning(
        &self,
        registry: &RegistryId,
        configuration: &ScanningConfiguration,
    ) -> Result<(), Error> {
        if self.events.is_open() {
            for _ in 0..MAX_ATTEMPTS {
                if self.put_scanning_once(registry, configuration).await? {
                    self.events.wake();
                    return Ok(());
                }
            }
            tracing::warn!(
                account = %registry.account,
                "a scanning configuration is put without events: others put some meanwhile"
            );
        }
        self.put(registry, store::SCANNING, configuration).await
    }

    /// Puts the configuration and records its events; false where another one was put meanwhile.
    async fn put_scanning_once(
        &self,
        registry: &RegistryId,
        new: &ScanningConfiguration,
    ) -> Result<bool, Error> {
        let (of, to) = (registry.clone(), new.clone());
        let read = self.db.read(move |tx| {
            let old = store::scanning(tx, &of)?;
            let changes = frequency_events::changes(tx, &of, &old, &to)?;
            Ok::<_, Error>((old, changes))
        });
        let (old, changes) = read.await?;
        let (of, now) = (registry.clone(), self.clock.now());
        let (new, events) = (new.clone(), self.events.clone());
        let put = self.db.write(move |tx| {
            if store::scanning(tx, &of)? != old {
                return Ok(false);
            }
            store::put(tx, &of, store::SCANNING, &json(&new), now)?;
            let told = (new.scan_type, changes.as_slice());
            frequency_events::record(tx, &events, &of, told, now)?;
            Ok(true)
        });
        put.await
    }

    /// The signing configuration.
    ///
    /// # Errors
    /// [`Error::NoSigningConfiguration`].
    pub async fn signing(&self, registry: &RegistryId) -> Result<SigningConfiguration, Error> {
        let of = registry.clone();
        let found = self
            .db
            .get(move |tx| Ok::<_, Error>(store::signing(tx, &of)?))
            .await?;
        found.ok_or_else(|| Error::NoSigningConfiguration {
            registry: registry.clone(),
        })
    }

    pub async fn put_signing(
        &self,
        registry: &RegistryId,
        configuration: &SigningConfiguration,
    ) -> Result<(), Error> {
        self.signing.note_configuration();
        self.put(registry, store::SIGNING, configuration).await
    }

    /// Deletes the signing configuration and returns it. Signatures stay.
    ///
    /// # Errors
    /// [`Error::NoSigningConfiguration`].
    pub async fn delete_signing(
        &self,
        registry: &RegistryId,
    ) -> Result<SigningConfiguration, Error> {
        let registry = registry.clone();
        self.db
            .write(move |tx| {
                let found = store::signing(tx, &registry)?;
                let found = found.ok_or_else(|| Error::NoSigningConfiguration {
                    registry: registry.clone(),
                })?;
                store::delete(tx, &registry, store::SIGNING)?;
                Ok(found)
            })
            .await
    }

    /// Excludes a principal from having its pulls recorded.
    ///
    /// # Errors
    /// [`Error::ExclusionExists`], [`Error::QuotaReached`].
    pub async fn add_exclusion(
        &self,
        registry: &RegistryId,
        principal: &str,
    ) -> Result<Timestamp, Error> {
        let (registry, principal) = (registry.clone(), principal.to_owned());
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                if !store::insert_exclusion(tx, &registry, &principal, now)? {
                    return Err(Error::ExclusionExists {
                        principal: principal.clone(),
                    });
                }
                if store::count_exclusions(tx, &registry)? > MAX_EXCLUSIONS {
                    return Err(Error::QuotaReached {
                        what: "pull time update exclusions",
                        limit: MAX_EXCLUSIONS.unsigned_abs(),
                    });
                }
                Ok(now)
            })
            .await
    }

    /// # Errors
    /// [`Error::NoSuchExclusion`].
    pub async fn remove_exclusion(
        &self,
        registry: &RegistryId,
        principal: &str,
    ) -> Result<(), Error> {
        let (registry, principal) = (registry.clone(), principal.to_owned());
        self.db
            .write(move |tx| {
                if store::delete_exclusion(tx, &registry, &principal)? {
                    Ok(())
                } else {
                    Err(Error::NoSuchExclusion {
                        principal: principal.clone(),
                    })
                }
            })
            .await
    }

    /// Up to `limit` excluded principals after `after` in byte order; the page's key is the last
    /// one.
    pub async fn exclusions(
        &self,
        registry: &RegistryId,
        after: &str,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        let (registry, after) = (registry.clone(), after.to_owned());
        let found = self
            .db
            .read(move |tx| store::exclusions(tx, &registry, &after, rows(limit)))
            .await?;
        Ok(Page::of(found, limit, Clone::clone))
    }

    async fn put(
        &self,
        registry: &RegistryId,
        name: &'static str,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let (registry, now, value) = (registry.clone(), self.clock.now(), json(value));
        self.db
            .write(move |tx| Ok(store::put(tx, &registry, name, &value, now)?))
            .await
    }
}

fn policy_text(tx: &mut Tx<'_>, registry: &RegistryId) -> Result<String, Error> {
    let missing = || Error::NoRegistryPolicy {
        registry: registry.clone(),
    };
    let id = store::policy_id(tx, registry)?.ok_or_else(missing)?;
    store::policy_text(tx, id)?.ok_or_else(missing)
}
