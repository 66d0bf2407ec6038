//! Tags of every kind of resource.

use std::collections::BTreeSet;

use wharfinger_db::{Db, Tx};

use crate::error::{Error, Result};
use crate::identifiers::NamedResource;
use crate::model::Tag;
use crate::store::tags as store;

/// Most tags of a resource, and most characters of a key and of a value (ECS developer guide, "Tag
/// restrictions").
const MAX_TAGS: usize = 50;
const MAX_KEY_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 256;

/// Operations on tags.
#[derive(Clone)]
pub struct Tags {
    db: Db,
}

impl Tags {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// The tags of a resource, also of one that is no longer active; `None` where it does not
    /// exist.
    pub async fn find(&self, named: &NamedResource) -> Result<Option<Vec<Tag>>> {
        let named = named.clone();
        let found = self.db.get(move |tx| store::find(tx, &named)).await?;
        Ok(found.map(|tagged| tagged.tags))
    }

    /// The tags of an active resource.
    ///
    /// # Errors
    /// [`Error::ClusterNotFound`], [`Error::ResourceNotFound`], [`Error::InvalidParameter`] for a
    /// resource that is no longer active.
    pub async fn list(&self, named: &NamedResource) -> Result<Vec<Tag>> {
        let named = named.clone();
        self.db.get(move |tx| active(tx, &named)).await
    }

    /// Sets these tags of an active resource; its others stay.
    ///
    /// # Errors
    /// As [`Tags::list`]; [`Error::InvalidParameter`] for a tag that breaks a rule,
    /// [`Error::LimitExceeded`] for too many.
    pub async fn set(&self, named: &NamedResource, tags: Vec<Tag>) -> Result<()> {
        check(&tags)?;
        let named = named.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut all = active(tx, &named)?;
            for tag in &tags {
                match all.iter_mut().find(|one| one.key == tag.key) {
                    Some(one) => one.value.clone_from(&tag.value),
                    None => all.push(tag.clone()),
                }
            }
            if all.len() > MAX_TAGS {
                return Err(Error::LimitExceeded(format!(
                    "The maximum number of tags for a resource is {MAX_TAGS}."
                )));
            }
            Ok(store::set(tx, &named, &all)?)
        };
        self.db.write(work).await
    }

    /// Removes the tags with these keys of an active resource; keys that it does not have are
    /// skipped.
    ///
    /// # Errors
    /// As [`Tags::list`].
    pub async fn remove(&self, named: &NamedResource, keys: Vec<String>) -> Result<()> {
        let named = named.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut all = active(tx, &named)?;
            all.retain(|tag| !tag.key.as_ref().is_some_and(|key| keys.contains(key)));
            Ok(store::set(tx, &named, &all)?)
        };
        self.db.write(work).await
    }
}

/// Checks the tags that a request sets on one resource.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check(tags: &[Tag]) -> Result<()> {
    let invalid = |message: String| Err(Error::InvalidParameter(message));
    if tags.len() > MAX_TAGS {
        return invalid(format!(
            "The maximum number of tags for a resource is {MAX_TAGS}."
        ));
    }
    let mut keys = BTreeSet::new();
    for tag in tags {
        let key = tag.key.as_deref().unwrap_or_default();
        let value = tag.value.as_deref().unwrap_or_default();
        if key.is_empty() {
            return invalid("Tag keys can not be blank.".to_owned());
        }
        if key.chars().count() > MAX_KEY_CHARS || value.chars().count() > MAX_VALUE_CHARS {
            return invalid(format!(
                "A tag has a key of at most {MAX_KEY_CHARS} and a value of at most \
                 {MAX_VALUE_CHARS} characters."
            ));
        }
        let start = key.get(..4).unwrap_or_default();
        if start.eq_ignore_ascii_case("aws:") {
            return invalid(format!(
                "The tag key '{key}' begins with 'aws:', which is reserved."
            ));
        }
        if !keys.insert(key) {
            return invalid(format!("The tag key '{key}' is given more than once."));
        }
    }
    Ok(())
}

/// The tags of a resource that is there and active.
fn active(tx: &mut Tx<'_>, named: &NamedResource) -> Result<Vec<Tag>> {
    let Some(tagged) = store::find(tx, named)? else {
        return Err(missing(named));
    };
    if tagged.is_active {
        return Ok(tagged.tags);
    }
    let (kind, ended, state) = match named {
        NamedResource::Cluster(_) => ("cluster", "inactive", "an active"),
        NamedResource::Instance(..) => ("container instance", "inactive", "an active"),
        NamedResource::Task(..) => ("task", "stopped", "a running"),
        NamedResource::Service(..) => ("service", "inactive", "an active"),
        NamedResource::TaskDefinition { .. } => ("task definition", "inactive", "an active"),
        NamedResource::CapacityProvider(..) => ("capacity provider", "inactive", "an active"),
    };
    Err(Error::InvalidParameter(format!(
        "The specified {kind} is {ended}. Specify {state} {kind} and try again."
    )))
}

fn missing(named: &NamedResource) -> Error {
    let kind = match named {
        NamedResource::Cluster(_) => return Error::ClusterNotFound,
        NamedResource::Instance(..) => "container instance",
        NamedResource::Task(..) => "task",
        NamedResource::Service(..) => "service",
        NamedResource::TaskDefinition { .. } => "task definition",
        NamedResource::CapacityProvider(..) => "capacity provider",
    };
    Error::ResourceNotFound(format!(
        "The specified {kind} could not be found. Specify a valid {kind} and try again."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        }
    }

    #[test]
    fn tags_by_the_rules() {
        assert_eq!(check(&[tag("a", ""), tag("b", "x")]), Ok(()));
        let long = "x".repeat(257);
        for bad in [
            vec![tag("", "x")],
            vec![tag("Aws:x", "x")],
            vec![tag(&long[..129], "x")],
            vec![tag("x", &long)],
            vec![tag("a", "1"), tag("a", "2")],
            (0..51).map(|number| tag(&number.to_string(), "")).collect(),
        ] {
            assert!(matches!(check(&bad), Err(Error::InvalidParameter(_))));
        }
    }
}
