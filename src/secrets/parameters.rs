//! Parameters: written, read, listed and deleted.
//!
//! Source: Systems Manager API reference; messages as clients quote them.

use std::collections::BTreeMap;

use regex::Regex;
use wharfinger_base::{Clock, Page, Secret};
use wharfinger_db::{Db, Tx};
use wharfinger_iam::SecretSeal;

use crate::Result;
use crate::error::Error;
use crate::model::{Parameter, ParameterDetails, ParameterType, SecretsHome, parameter_arn};
use crate::parameter_names::{ParameterRef, Selector, check_name, same_arn};
use crate::store::parameters::{self as store, StoredParameter};

/// The largest values in bytes. Source: Systems Manager quotas.
const MAX_STANDARD_BYTES: usize = 4096;
const MAX_ADVANCED_BYTES: usize = 8192;
/// Versions that are kept of a parameter. Source: Systems Manager quotas.
const KEPT_VERSIONS: i64 = 100;
/// Most tags of a parameter.
const MAX_TAGS: usize = 50;
const STANDARD: &str = "Standard";
const ADVANCED: &str = "Advanced";
/// Above every name: names are ASCII.
const AFTER_ALL: &str = "~";

/// Operations on parameters.
#[derive(Clone)]
pub struct Parameters {
    db: Db,
    clock: Clock,
    seal: SecretSeal,
}

/// What `PutParameter` sets.
#[derive(Clone, Debug)]
pub struct NewParameter {
    pub name: String,
    pub value: Secret<String>,
    /// That of the last version without.
    pub kind: Option<ParameterType>,
    pub description: Option<String>,
    pub key_id: Option<String>,
    pub allowed_pattern: Option<String>,
    pub tier: Option<String>,
    pub data_type: Option<String>,
    /// Only for a new parameter.
    pub tags: BTreeMap<String, String>,
    pub overwrite: bool,
    /// The ARN of the caller.
    pub modified_by: String,
}

impl Parameters {
    pub fn new(db: Db, clock: Clock, seal: SecretSeal) -> Self {
        Self { db, clock, seal }
    }

    /// Writes a version of a parameter and returns its number and tier.
    ///
    /// # Errors
    /// [`Error::ParameterExists`] without `overwrite`; [`Error::InvalidParameter`],
    /// [`Error::HierarchyLevels`], [`Error::PatternMismatch`], [`Error::InvalidPattern`].
    pub async fn put(&self, home: &SecretsHome, new: NewParameter) -> Result<(i64, String)> {
        check_name(&new.name)?;
        check_pattern(&new)?;
        let tier = check_value(&new)?;
        if new.overwrite && !new.tags.is_empty() {
            return invalid(
                "tags and overwrite can't be used together. To create a parameter with tags, \
                 please remove overwrite flag. To update tags for an existing parameter, please \
                 use AddTagsToResource or RemoveTagsFromResource.",
            );
        }
        if new.tags.len() > MAX_TAGS {
            return Err(Error::TooManyTags("A parameter can have at most 50 tags."));
        }
        let (home, now, seal) = (home.clone(), self.clock.now(), self.seal.clone());
        let work = move |tx: &mut Tx<'_>| {
            let head = store::head(tx, &home, &new.name)?;
            let (last, tags) = match head {
                Some(_) if !new.overwrite => return Err(Error::ParameterExists),
                Some((last, tags)) => (last, tags),
                None => {
                    check_arn_is_free(tx, &home, &new.name)?;
                    (0, new.tags.clone())
                }
            };
            let before = store::version(tx, &home, &new.name, last)?;
            let kind = new.kind.or(before.as_ref().map(|before| before.kind));
            let Some(kind) = kind else {
                return invalid("A parameter type is required when you create a parameter.");
            };
            let version = last + 1;
            let bound = belongs_to(&home, &new.name, version);
            let of_before = |member: fn(&ParameterDetails) -> Option<String>| {
                before.as_ref().and_then(|before| member(&before.details))
            };
            let description = new.description.clone();
            let stored = StoredParameter {
                name: new.name.clone(),
                version,
                kind,
                modified_at: now,
                modified_by: new.modified_by.clone(),
                details: ParameterDetails {
                    description: description.or_else(|| of_before(|one| one.description.clone())),
                    key_id: new.key_id.clone().or_else(|| {
                        let secure = kind == ParameterType::SecureString;
                        secure.then(|| "alias/aws/ssm".to_owned())
                    }),
                    allowed_pattern: new.allowed_pattern.clone(),
                    tier: tier.to_owned(),
                    data_type: new.data_type.clone().unwrap_or_else(|| "text".to_owned()),
                },
                sealed: seal.seal(&bound, new.value.reveal().as_bytes()),
            };
            store::put_head(tx, &home, &new.name, version, &tags)?;
            store::insert(tx, &home, &stored)?;
            store::delete_versions(tx, &home, &new.name, version - KEPT_VERSIONS)?;
            Ok((version, stored.details.tier))
        };
        self.db.write(work).await
    }

    /// The version of a parameter that a request names.
    ///
    /// # Errors
    /// [`Error::NoSuchParameter`], [`Error::NoSuchParameterVersion`].
    pub async fn get(&self, parameter: &ParameterRef) -> Result<Parameter> {
        let reference = parameter.clone();
        let work = move |tx: &mut Tx<'_>| {
            let home = &reference.home;
            let (name, last) = existing(tx, &reference)?;
            let (version, shown) = match &reference.selector {
                Selector::Newest => (last, last.to_string()),
                Selector::Version(version) => (*version, version.to_string()),
                // No label is ever attached here, and versions count from 1.
                Selector::Label(label) => (0, label.clone()),
            };
            let found = store::version(tx, home, &name, version)?;
            found.ok_or(Error::NoSuchParameterVersion {
                name,
                version: shown,
            })
        };
        let found = self.db.get(work).await?;
        self.opened(&parameter.home, found)
    }

    /// Up to `limit` versions of a parameter after `after`; the page's key is the last one.
    ///
    /// # Errors
    /// [`Error::NoSuchParameter`].
    pub async fn history(
        &self,
        parameter: &ParameterRef,
        after: i64,
        limit: usize,
    ) -> Result<Page<Parameter, i64>> {
        let reference = parameter.clone();
        let work = move |tx: &mut Tx<'_>| {
            let home = &reference.home;
            let (name, _) = existing(tx, &reference)?;
            Ok::<_, Error>(store::history(tx, home, &name, after, limit + 1)?)
        };
        let rows = self.db.read(work).await?;
        let page = Page::of(rows, limit, |one| one.version);
        let home = &parameter.home;
        let items = page.items.into_iter().map(|one| self.opened(home, one));
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next: page.next,
        })
    }

    /// Up to `limit` parameters with names that start with `prefix`, after `after`, with their
    /// tags; the page's key is the last name.
    pub async fn page(
        &self,
        home: &SecretsHome,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Page<(Parameter, BTreeMap<String, String>)>> {
        // A name is never a prefix alone, so that what follows `prefix` is after it.
        let start = after.max(prefix).to_owned();
        let (of, end) = (home.clone(), format!("{prefix}{AFTER_ALL}"));
        let work = move |tx: &mut Tx<'_>| store::page(tx, &of, &start, &end, limit + 1);
        let rows = self.db.read(work).await?;
        let page = Page::of(rows, limit, |(one, _)| one.name.clone());
        let items = page.items.into_iter();
        let items = items.map(|(one, tags)| Ok((self.opened(home, one)?, tags)));
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next: page.next,
        })
    }

    /// The tags of a parameter; `None` for one that does not exist.
    pub async fn tags(&self, parameter: &ParameterRef) -> Result<Option<BTreeMap<String, String>>> {
        let reference = parameter.clone();
        let found = self.db.get(move |tx| find(tx, &reference)).await?;
        Ok(found.map(|(_, _, tags)| tags))
    }

    /// Changes the tags of a parameter.
    ///
    /// # Errors
    /// [`Error::NoSuchParameter`], [`Error::TooManyTags`].
    pub async fn change_tags(
        &self,
        home: &SecretsHome,
        name: &str,
        change: impl Fn(&mut BTreeMap<String, String>) + Send + 'static,
    ) -> Result<()> {
        let (home, name) = (home.clone(), name.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let head = store::head(tx, &home, &name)?;
            let (version, mut tags) = head.ok_or_else(|| Error::NoSuchParameter(name.clone()))?;
            change(&mut tags);
            if tags.len() > MAX_TAGS {
                return Err(Error::TooManyTags("A parameter can have at most 50 tags."));
            }
            Ok(store::put_head(tx, &home, &name, version, &tags)?)
        };
        self.db.write(work).await
    }

    /// Deletes parameters and returns the names of those that there were.
    pub async fn delete(&self, home: &SecretsHome, names: Vec<String>) -> Result<Vec<String>> {
        let home = home.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut deleted = Vec::new();
            for name in &names {
                if store::delete(tx, &home, name)? {
                    deleted.push(name.clone());
                }
            }
            Ok(deleted)
        };
        self.db.write(work).await
    }

    fn opened(&self, home: &SecretsHome, stored: StoredParameter) -> Result<Parameter> {
        let bound = belongs_to(home, &stored.name, stored.version);
        let bytes = self.seal.open(&bound, &stored.sealed);
        let bytes = bytes.map_err(|_| Error::Sealed)?.into_inner();
        let value = String::from_utf8(bytes).map_err(|_| Error::Sealed)?;
        Ok(Parameter {
            home: home.clone(),
            name: stored.name,
            version: stored.version,
            kind: stored.kind,
            modified_at: stored.modified_at,
            modified_by: stored.modified_by,
            details: stored.details,
            value: Secret::new(value),
            sealed: stored.sealed,
        })
    }
}

/// A parameter's name, last version and tags.
type Found = (String, i64, BTreeMap<String, String>);

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::InvalidParameter(message.into()))
}

/// The name, last version and tags of the parameter that is meant.
fn find(tx: &mut Tx<'_>, parameter: &ParameterRef) -> Result<Option<Found>> {
    for name in parameter.names() {
        if let Some((last, tags)) = store::head(tx, &parameter.home, name)? {
            return Ok(Some((name.to_owned(), last, tags)));
        }
    }
    Ok(None)
}

/// The name and last version of the parameter that is meant.
fn existing(tx: &mut Tx<'_>, parameter: &ParameterRef) -> Result<(String, i64)> {
    let missing = || Error::NoSuchParameter(parameter.name.clone());
    let (name, last, _) = find(tx, parameter)?.ok_or_else(missing)?;
    Ok((name, last))
}

/// Checks that no other parameter has the ARN of a new one: policies and tasks could not tell them
/// apart.
fn check_arn_is_free(tx: &mut Tx<'_>, home: &SecretsHome, name: &str) -> Result<()> {
    let Some(other) = same_arn(name) else {
        return Ok(());
    };
    match store::head(tx, home, &other)? {
        None => Ok(()),
        Some(_) => invalid(format!(
            "Parameter name: {name} has the same ARN as the parameter {other}."
        )),
    }
}

/// What a value is bound to.
fn belongs_to(home: &SecretsHome, name: &str, version: i64) -> String {
    // Two names can have one ARN, `a` and `/a`, and a value belongs to one of them.
    format!("{} {name} {version}", parameter_arn(home, name))
}

/// The tier that a value needs.
fn check_value(new: &NewParameter) -> Result<&'static str> {
    let bytes = new.value.reveal().len();
    if bytes == 0 {
        return invalid("Parameter value can't be empty.");
    }
    let tier = match new.tier.as_deref() {
        Some("Intelligent-Tiering") if bytes > MAX_STANDARD_BYTES => ADVANCED,
        Some(ADVANCED) => ADVANCED,
        _ => STANDARD,
    };
    if tier == STANDARD && bytes > MAX_STANDARD_BYTES {
        return invalid(
            "Standard tier parameters support a maximum parameter value of 4096 characters. To \
             create a larger parameter value, upgrade the parameter to use the advanced-parameter \
             tier.",
        );
    }
    if bytes > MAX_ADVANCED_BYTES {
        return invalid(
            "Advanced tier parameters support a maximum parameter value of 8192 characters.",
        );
    }
    Ok(tier)
}

fn check_pattern(new: &NewParameter) -> Result<()> {
    let Some(pattern) = new
        .allowed_pattern
        .as_deref()
        .filter(|pattern| !pattern.is_empty())
    else {
        return Ok(());
    };
    let compiled = Regex::new(pattern);
    let compiled = compiled.map_err(|_| Error::InvalidPattern(pattern.to_owned()))?;
    if compiled.is_match(new.value.reveal()) {
        Ok(())
    } else {
        Err(Error::PatternMismatch(pattern.to_owned()))
    }
}

#[cfg(test)]
mod tests;
