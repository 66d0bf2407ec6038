//! Attributes of container instances that users set.

use wharfinger_base::Page;
use wharfinger_db::{Db, Tx};

use crate::error::{Error, Result};
use crate::instances::of_cluster;
use crate::model::{Attribute, ClusterId, ContainerInstance, InstanceId, InstanceStatus};
use crate::registration::{check_attribute, is_custom};
use crate::store::instances as store;

/// Most attributes that users set on an instance, and most of one request (ECS API reference,
/// `PutAttributes`).
const MAX_CUSTOM: usize = 10;
const MAX_AT_ONCE: usize = 10;

/// Instances that one statement of a listing reads.
const SCANNED: usize = 200;

/// Operations on attributes.
#[derive(Clone)]
pub struct Attributes {
    db: Db,
}

/// An attribute of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAttribute {
    pub target: InstanceId,
    pub name: String,
    pub value: Option<String>,
}

/// What a listing is limited to.
#[derive(Clone, Debug, Default)]
pub struct AttributeFilter {
    pub name: Option<String>,
    pub value: Option<String>,
}

impl Attributes {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Sets attributes of instances of the cluster.
    ///
    /// # Errors
    /// [`Error::TargetNotFound`], [`Error::AttributeLimitExceeded`], [`Error::InvalidParameter`]
    /// for an attribute that breaks a rule.
    pub async fn put(&self, cluster: &ClusterId, given: Vec<TargetAttribute>) -> Result<()> {
        check_count(given.len())?;
        for one in &given {
            check_attribute(&one.name, one.value.as_deref())?;
            check_custom(&one.name)?;
        }
        let cluster = cluster.clone();
        let work = move |tx: &mut Tx<'_>| {
            for given in &given {
                let mut instance = target(tx, &cluster, &given.target)?;
                set(&mut instance, given)?;
                let version = instance.version;
                store::update(tx, &instance, version)?;
            }
            Ok(())
        };
        self.db.write(work).await
    }

    /// Deletes attributes of instances of the cluster, and returns those that were there.
    ///
    /// # Errors
    /// [`Error::TargetNotFound`], [`Error::InvalidParameter`] for an attribute that users may not
    /// set.
    pub async fn delete(
        &self,
        cluster: &ClusterId,
        given: Vec<TargetAttribute>,
    ) -> Result<Vec<TargetAttribute>> {
        check_count(given.len())?;
        for one in &given {
            check_custom(&one.name)?;
        }
        let cluster = cluster.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut deleted = Vec::new();
            for given in &given {
                let mut instance = target(tx, &cluster, &given.target)?;
                let attributes = &mut instance.details.attributes;
                let Some(at) = attributes.iter().position(|one| one.name == given.name) else {
                    continue;
                };
                let old = attributes.remove(at);
                deleted.push(TargetAttribute {
                    target: given.target.clone(),
                    name: old.name,
                    value: old.value,
                });
                let version = instance.version;
                store::update(tx, &instance, version)?;
            }
            Ok(deleted)
        };
        self.db.write(work).await
    }

    /// Up to `limit` attributes of the cluster's instances, in the order of instances and names,
    /// after the attribute of this instance and name.
    pub async fn page(
        &self,
        cluster: &ClusterId,
        filter: AttributeFilter,
        after: (String, String),
        limit: usize,
    ) -> Result<Page<TargetAttribute, (String, String)>> {
        let (mut instance, mut name) = after;
        let mut found: Vec<TargetAttribute> = Vec::new();
        loop {
            let (cluster, filter) = (cluster.clone(), filter.clone());
            let (from, from_name) = (instance.clone(), name.clone());
            let read = move |tx: &mut Tx<'_>| {
                matching(tx, &cluster, &filter, (&from, &from_name), limit + 1)
            };
            let (mut matching, last) = self.db.read::<_, _, Error>(read).await?;
            found.append(&mut matching);
            match last {
                Some(last) if found.len() <= limit => {
                    instance = last.0;
                    name.clear();
                }
                _ => {
                    let key = |one: &TargetAttribute| (one.target.0.clone(), one.name.clone());
                    return Ok(Page::of(found, limit, key));
                }
            }
        }
    }
}

/// Checks how many attributes a request sets or deletes.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_count(count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::InvalidParameter(
            "Attributes can not be empty.".to_owned(),
        ));
    }
    if count > MAX_AT_ONCE {
        return Err(Error::InvalidParameter(format!(
            "Attributes can not have more than {MAX_AT_ONCE} items."
        )));
    }
    Ok(())
}

fn check_custom(name: &str) -> Result<()> {
    if is_custom(name) {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "The attribute {name} is reserved: only custom attributes can be set and deleted."
    )))
}

fn target(tx: &mut Tx<'_>, cluster: &ClusterId, id: &InstanceId) -> Result<ContainerInstance> {
    let found = of_cluster(tx, cluster, id)?;
    let found = found.filter(|found| found.status != InstanceStatus::Inactive);
    found.ok_or_else(|| Error::TargetNotFound("The specified target wasn't found.".to_owned()))
}

fn set(instance: &mut ContainerInstance, given: &TargetAttribute) -> Result<()> {
    let attributes = &mut instance.details.attributes;
    if let Some(one) = attributes.iter_mut().find(|one| one.name == given.name) {
        one.value.clone_from(&given.value);
        return Ok(());
    }
    let custom = attributes.iter().filter(|one| is_custom(&one.name)).count();
    if custom >= MAX_CUSTOM {
        return Err(Error::AttributeLimitExceeded(format!(
            "You can apply up to {MAX_CUSTOM} custom attributes for each resource."
        )));
    }
    attributes.push(Attribute {
        name: given.name.clone(),
        value: given.value.clone(),
        ..Attribute::default()
    });
    attributes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(())
}

/// The attributes that match among those of the next instances, the one with the position
/// included; and the last instance that was read, where more may follow.
fn matching(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    filter: &AttributeFilter,
    (instance, name): (&str, &str),
    limit: usize,
) -> Result<(Vec<TargetAttribute>, Option<InstanceId>)> {
    let mut found = Vec::new();
    if !name.is_empty() {
        let started = of_cluster(tx, cluster, &InstanceId(instance.to_owned()))?;
        let started = started.filter(|one| one.status != InstanceStatus::Inactive);
        collect(&mut found, started.as_ref(), filter, name);
    }
    let read = store::in_cluster(tx, cluster, instance, SCANNED)?;
    for one in &read {
        if found.len() >= limit {
            return Ok((found, Some(one.id.clone())));
        }
        collect(&mut found, Some(one), filter, "");
    }
    let last = read.last().map(|last| last.id.clone());
    let more = read.len() == SCANNED;
    Ok((found, last.filter(|_| more)))
}

fn collect(
    found: &mut Vec<TargetAttribute>,
    instance: Option<&ContainerInstance>,
    filter: &AttributeFilter,
    after: &str,
) {
    let visible = instance.filter(|instance| !instance.details.is_fargate);
    let Some(instance) = visible else { return };
    let wanted = |one: &&Attribute| {
        let has_name = filter.name.as_ref().is_none_or(|name| *name == one.name);
        let has_value = filter.value.is_none() || filter.value == one.value;
        has_name && has_value && (after.is_empty() || one.name.as_str() > after)
    };
    let attributes = instance.details.attributes.iter().filter(wanted);
    found.extend(attributes.map(|one| TargetAttribute {
        target: instance.id.clone(),
        name: one.name.clone(),
        value: one.value.clone(),
    }));
}
