//! Secrets: created, read, changed, listed and deleted.
//!
//! Source: Secrets Manager API reference; messages as clients quote them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use wharfinger_base::{Clock, Ids, Page, Secret, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_iam::SecretSeal;

use crate::cleanup::SecretCleanup;
use crate::error::Error;
use crate::model::{SecretDetails, SecretValue, SecretVersion, SecretsHome, StoredSecret};
use crate::secret_names::{SUFFIX_CHARS, SecretRef, check_name};
use crate::store::secrets::{self as store, AgePosition, SealedValue};
use crate::{Result, stages};

/// The largest value in bytes. Source: Secrets Manager quotas.
const MAX_VALUE_BYTES: usize = 65_536;
/// Most tags of a secret. Source: `CreateSecret`.
const MAX_TAGS: usize = 50;
const DAY: Duration = Duration::from_hours(24);
const MARKED: &str =
    "You can't perform this operation on the secret because it was marked for deletion.";
const NAME_MARKED: &str = "You can't create this secret because a secret with this name is already \
                           scheduled for deletion.";

/// Operations on secrets.
#[derive(Clone)]
pub struct Secrets {
    db: Db,
    clock: Clock,
    ids: Ids,
    seal: SecretSeal,
}

/// A value for a new version of a secret.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub value: SecretValue,
    /// The identifier, by which a repeated request is known; a random one without.
    pub token: Option<String>,
    /// `AWSCURRENT` without.
    pub stages: Option<Vec<String>>,
}

/// Which version to read: the current one where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionQuery {
    pub id: Option<String>,
    pub stage: Option<String>,
}

impl Secrets {
    pub fn new(db: Db, clock: Clock, ids: Ids, seal: SecretSeal) -> Self {
        Self {
            db,
            clock,
            ids,
            seal,
        }
    }

    /// Creates a secret, with a first version where there is a value.
    ///
    /// # Errors
    /// [`Error::SecretExists`] unless the same request made it; [`Error::SecretDeleted`];
    /// [`Error::InvalidSecret`].
    pub async fn create(
        &self,
        home: &SecretsHome,
        name: &str,
        details: SecretDetails,
        version: Option<NewVersion>,
    ) -> Result<(StoredSecret, Option<SecretVersion>)> {
        check_name(name)?;
        check_tags(&details.tags)?;
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let now = self.clock.now();
        let secret = StoredSecret {
            home: home.clone(),
            name: name.to_owned(),
            suffix: self.ids.text(letters, SUFFIX_CHARS),
            created_at: now,
            deleted_at: None,
            details: SecretDetails {
                changed_at: Some(now),
                ..details
            },
        };
        let version = version.map(|version| self.prepare(version)).transpose()?;
        let seal = self.seal.clone();
        let work = move |tx: &mut Tx<'_>| {
            if let Some(old) = store::by_name(tx, &secret.home, &secret.name)? {
                match old.deleted_at {
                    Some(at) if at <= now => store::delete(tx, &old.home, &old.name)?,
                    Some(_) => return Err(Error::SecretDeleted(NAME_MARKED)),
                    None => {
                        let repeated = version.as_ref();
                        let repeated = repeated.map(|version| repeats(tx, &seal, &old, version));
                        return match repeated.transpose()?.flatten() {
                            Some(same) => Ok((old, Some(same))),
                            None => Err(Error::SecretExists(old.name)),
                        };
                    }
                }
            }
            store::insert(tx, &secret)?;
            let version = version.as_ref();
            let version = version.map(|version| add(tx, &seal, &secret, version, now));
            Ok((secret.clone(), version.transpose()?))
        };
        self.db.write(work).await
    }

    /// The secret, also one that is marked for deletion; `None` for one that does not exist.
    pub async fn find(&self, secret: &SecretRef) -> Result<Option<StoredSecret>> {
        let (secret, now) = (secret.clone(), self.clock.now());
        self.db.get(move |tx| find(tx, &secret, now)).await
    }

    /// The versions of a secret; none of one that is gone, even if another has its name now.
    pub async fn versions(&self, secret: &StoredSecret) -> Result<Vec<SecretVersion>> {
        let (reference, now) = (SecretRef::of(secret), self.clock.now());
        let work = move |tx: &mut Tx<'_>| match find(tx, &reference, now)? {
            Some(secret) => Ok(store::versions(tx, &secret.home, &secret.name)?),
            None => Ok(Vec::new()),
        };
        self.db.read::<_, _, Error>(work).await
    }

    /// A version of a secret with its value.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`], [`Error::SecretDeleted`], [`Error::NoSuchValue`].
    pub async fn value(
        &self,
        secret: &SecretRef,
        query: VersionQuery,
    ) -> Result<(StoredSecret, SecretVersion, SecretValue)> {
        let (reference, now) = (secret.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let secret = usable(find(tx, &reference, now)?)?;
            let versions = store::versions(tx, &secret.home, &secret.name)?;
            let version = choose(versions, &query)?;
            let value = store::value(tx, &secret.home, &secret.name, &version.id)?;
            let value = value.ok_or_else(|| missing_value(&query))?;
            Ok::<_, Error>((secret, version, value))
        };
        let (mut secret, version, value) = self.db.get(work).await?;
        let value = open(&self.seal, &secret, &version.id, &value)?;
        let today = Timestamp::from_ms(now.as_ms() - now.as_ms().rem_euclid(day_ms()));
        if secret.details.accessed_at != Some(today) {
            secret.details.accessed_at = Some(today);
            self.note_access(&secret, today).await?;
        }
        Ok((secret, version, value))
    }

    /// Records the day of a read, once a day.
    async fn note_access(&self, secret: &StoredSecret, today: Timestamp) -> Result<()> {
        let (reference, now) = (SecretRef::of(secret), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            if let Some(mut secret) = find(tx, &reference, now)? {
                secret.details.accessed_at = Some(today);
                store::update(tx, &secret)?;
            }
            Ok(())
        };
        self.db.write(work).await
    }

    /// Adds a version with a value.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`], [`Error::SecretDeleted`]; [`Error::VersionExists`] for an
    /// identifier that another value has.
    pub async fn put(
        &self,
        secret: &SecretRef,
        version: NewVersion,
    ) -> Result<(StoredSecret, SecretVersion)> {
        let version = self.prepare(version)?;
        let (reference, now, seal) = (secret.clone(), self.clock.now(), self.seal.clone());
        let work = move |tx: &mut Tx<'_>| {
            let secret = usable(find(tx, &reference, now)?)?;
            put(tx, &seal, secret, &version, now)
        };
        self.db.write(work).await
    }

    /// Changes what a secret says of itself, and adds a version where there is a value.
    ///
    /// # Errors
    /// As [`Secrets::put`].
    pub async fn update(
        &self,
        secret: &SecretRef,
        change: impl Fn(&mut SecretDetails) + Send + 'static,
        version: Option<NewVersion>,
    ) -> Result<(StoredSecret, Option<SecretVersion>)> {
        let version = version.map(|version| self.prepare(version)).transpose()?;
        let (reference, now, seal) = (secret.clone(), self.clock.now(), self.seal.clone());
        let work = move |tx: &mut Tx<'_>| {
            let mut secret = usable(find(tx, &reference, now)?)?;
            change(&mut secret.details);
            check_tags(&secret.details.tags)?;
            secret.details.changed_at = Some(now);
            store::update(tx, &secret)?;
            match &version {
                None => Ok((secret, None)),
                Some(version) => {
                    let (secret, version) = put(tx, &seal, secret, version, now)?;
                    Ok((secret, Some(version)))
                }
            }
        };
        self.db.write(work).await
    }

    /// The reconciler that removes secrets whose window has passed.
    pub fn cleanup(&self) -> SecretCleanup {
        SecretCleanup(self.db.clone())
    }

    /// Marks a secret for deletion after `window`, or deletes it at once without one. Returns it
    /// with the time of its end.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`], [`Error::SecretDeleted`].
    pub async fn delete(
        &self,
        secret: &SecretRef,
        window: Option<Duration>,
    ) -> Result<StoredSecret> {
        let (reference, now) = (secret.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let mut secret = find(tx, &reference, now)?.ok_or(Error::NoSuchSecret)?;
            let Some(window) = window else {
                store::delete(tx, &secret.home, &secret.name)?;
                secret.deleted_at = Some(now);
                return Ok(secret);
            };
            let mut secret = usable(Some(secret))?;
            secret.deleted_at = Some(now.plus(window));
            store::update(tx, &secret)?;
            Ok(secret)
        };
        self.db.write(work).await
    }

    /// Takes back the deletion of a secret.
    ///
    /// # Errors
    /// [`Error::NoSuchSecret`].
    pub async fn restore(&self, secret: &SecretRef) -> Result<StoredSecret> {
        let (reference, now) = (secret.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let mut secret = find(tx, &reference, now)?.ok_or(Error::NoSuchSecret)?;
            secret.deleted_at = None;
            store::update(tx, &secret)?;
            Ok(secret)
        };
        self.db.write(work).await
    }

    /// Up to `limit` secrets by age after a position; the page's key is the position of the last
    /// one. Secrets whose time is over are left out.
    pub async fn page(
        &self,
        home: &SecretsHome,
        after: Option<AgePosition>,
        descending: bool,
        limit: usize,
    ) -> Result<Page<StoredSecret, AgePosition>> {
        let (home, now) = (home.clone(), self.clock.now());
        let start = if descending { i64::MAX } else { i64::MIN };
        let after = after.unwrap_or_else(|| (Timestamp::from_ms(start), String::new()));
        let work = move |tx: &mut Tx<'_>| {
            if descending {
                store::page_back(tx, &home, &after, limit + 1)
            } else {
                store::page(tx, &home, &after, limit + 1)
            }
        };
        let rows = self.db.read(work).await?;
        let key = |secret: &StoredSecret| (secret.created_at, secret.name.clone());
        let mut page = Page::of(rows, limit, key);
        page.items
            .retain(|secret| secret.deleted_at.is_none_or(|at| at > now));
        Ok(page)
    }

    /// A new version with its identifier and labels.
    fn prepare(&self, version: NewVersion) -> Result<Prepared> {
        let (is_binary, bytes) = match &version.value {
            SecretValue::Text(text) => (false, text.reveal().as_bytes().to_vec()),
            SecretValue::Binary(bytes) => (true, bytes.reveal().clone()),
        };
        if bytes.is_empty() || bytes.len() > MAX_VALUE_BYTES {
            let message = format!("A secret value has 1 to {MAX_VALUE_BYTES} bytes.");
            return Err(Error::InvalidSecret(message));
        }
        Ok(Prepared {
            id: version.token.unwrap_or_else(|| self.ids.uuid().to_string()),
            stages: version
                .stages
                .unwrap_or_else(|| vec![stages::CURRENT.to_owned()]),
            is_binary,
            bytes: Secret::new(bytes),
        })
    }
}

/// A version that is to be stored.
#[derive(Clone)]
struct Prepared {
    id: String,
    stages: Vec<String>,
    is_binary: bool,
    bytes: Secret<Vec<u8>>,
}

fn day_ms() -> i64 {
    i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX)
}

/// The secret that is meant, also one that is marked for deletion, unless its time is over.
fn find(tx: &mut Tx<'_>, secret: &SecretRef, now: Timestamp) -> Result<Option<StoredSecret>> {
    for name in secret.names() {
        let found = store::by_name(tx, secret.home(), name)?;
        let alive = |found: &StoredSecret| found.deleted_at.is_none_or(|at| at > now);
        if let Some(found) = found.filter(|found| secret.means(found) && alive(found)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A secret that exists and is not marked for deletion.
fn usable(secret: Option<StoredSecret>) -> Result<StoredSecret> {
    let secret = secret.ok_or(Error::NoSuchSecret)?;
    match secret.deleted_at {
        None => Ok(secret),
        Some(_) => Err(Error::SecretDeleted(MARKED)),
    }
}

/// What a value is bound to.
fn belongs_to(secret: &StoredSecret, version: &str) -> String {
    format!("{} {version}", secret.arn())
}

fn open(
    seal: &SecretSeal,
    secret: &StoredSecret,
    version: &str,
    value: &SealedValue,
) -> Result<SecretValue> {
    let bytes = seal.open(&belongs_to(secret, version), &value.sealed);
    let bytes = bytes.map_err(|_| Error::Sealed)?;
    if value.is_binary {
        return Ok(SecretValue::Binary(bytes));
    }
    let text = String::from_utf8(bytes.reveal().clone()).map_err(|_| Error::Sealed)?;
    Ok(SecretValue::Text(Secret::new(text)))
}

/// The stored version that a repeated request made: the same identifier and value.
fn repeats(
    tx: &mut Tx<'_>,
    seal: &SecretSeal,
    secret: &StoredSecret,
    version: &Prepared,
) -> Result<Option<SecretVersion>> {
    let stored = store::value(tx, &secret.home, &secret.name, &version.id)?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let bytes = seal.open(&belongs_to(secret, &version.id), &stored.sealed);
    let bytes = bytes.map_err(|_| Error::Sealed)?;
    if stored.is_binary != version.is_binary || bytes != version.bytes {
        return Err(Error::VersionExists);
    }
    let versions = store::versions(tx, &secret.home, &secret.name)?;
    Ok(versions.into_iter().find(|one| one.id == version.id))
}

/// Adds a version, or finds the one that a repeated request made.
fn put(
    tx: &mut Tx<'_>,
    seal: &SecretSeal,
    mut secret: StoredSecret,
    version: &Prepared,
    now: Timestamp,
) -> Result<(StoredSecret, SecretVersion)> {
    if let Some(same) = repeats(tx, seal, &secret, version)? {
        return Ok((secret, same));
    }
    let added = add(tx, seal, &secret, version, now)?;
    secret.details.changed_at = Some(now);
    store::update(tx, &secret)?;
    Ok((secret, added))
}

fn add(
    tx: &mut Tx<'_>,
    seal: &SecretSeal,
    secret: &StoredSecret,
    version: &Prepared,
    now: Timestamp,
) -> Result<SecretVersion> {
    let before = store::versions(tx, &secret.home, &secret.name)?;
    let mut versions = before.clone();
    versions.push(SecretVersion {
        id: version.id.clone(),
        created_at: now,
        stages: Vec::new(),
    });
    stages::attach(&mut versions, &version.id, &version.stages);
    for changed in versions
        .iter()
        .filter(|one| one.id != version.id && !before.contains(one))
    {
        store::update_stages(tx, &secret.home, &secret.name, changed)?;
    }
    for gone in stages::surplus(&versions) {
        store::delete_version(tx, &secret.home, &secret.name, &gone)?;
    }
    let added = versions.into_iter().find(|one| one.id == version.id);
    let added = added.ok_or(Error::Sealed)?;
    let sealed = SealedValue {
        is_binary: version.is_binary,
        sealed: seal.seal(&belongs_to(secret, &version.id), version.bytes.reveal()),
    };
    store::insert_version(tx, secret, &added, &sealed)?;
    Ok(added)
}

/// The version that a query names.
fn choose(versions: Vec<SecretVersion>, query: &VersionQuery) -> Result<SecretVersion> {
    let current = stages::CURRENT.to_owned();
    let stage = match (&query.id, &query.stage) {
        (Some(_), None) => None,
        (_, stage) => Some(stage.as_ref().unwrap_or(&current)),
    };
    let found = versions.into_iter().find(|version| {
        query.id.as_ref().is_none_or(|id| *id == version.id)
            && stage.is_none_or(|stage| version.stages.contains(stage))
    });
    found.ok_or_else(|| missing_value(query))
}

fn missing_value(query: &VersionQuery) -> Error {
    Error::NoSuchValue(match (&query.id, &query.stage) {
        (Some(id), _) => format!("VersionId: {id}"),
        (None, stage) => {
            let stage = stage.as_deref().unwrap_or(stages::CURRENT);
            format!("staging label: {stage}")
        }
    })
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::TooManyTags("A secret can have at most 50 tags."));
    }
    Ok(())
}
