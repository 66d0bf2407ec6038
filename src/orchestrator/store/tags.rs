//! The tags of every kind of resource that can have them.

use wharfinger_db::{self as db, Tx, params};

use crate::identifiers::NamedResource;
use crate::model::{
    CapacityProviderStatus, ClusterId, ClusterName, ClusterStatus, InstanceId, InstanceStatus,
    ServiceStatus, Tag, TaskDefinitionStatus, TaskId, TaskStatus,
};
use crate::store::{capacity_providers, clusters, document, from_document, instances, parsed};

/// A resource that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) tags: Vec<Tag>,
    /// Whether it is not deleted, stopped or deregistered.
    pub(crate) is_active: bool,
}

/// The tags of a resource, if it exists.
pub(crate) fn find(tx: &mut Tx<'_>, named: &NamedResource) -> db::Result<Option<Tagged>> {
    Ok(match named {
        NamedResource::Cluster(name) => clusters::by_name(tx, name)?.map(|cluster| Tagged {
            is_active: cluster.status == ClusterStatus::Active,
            tags: cluster.details.tags,
        }),
        NamedResource::Instance(cluster, id) => {
            let Some(cluster) = cluster_id(tx, cluster)? else {
                return Ok(None);
            };
            let found = instances::by_id(tx, id)?.filter(|found| found.cluster == cluster);
            found.map(|instance| Tagged {
                is_active: instance.status != InstanceStatus::Inactive,
                tags: instance.details.tags,
            })
        }
        NamedResource::Task(cluster, id) => task(tx, cluster, id)?,
        NamedResource::Service(cluster, name) => {
            service(tx, cluster, name)?.map(|(_, tagged)| tagged)
        }
        NamedResource::TaskDefinition {
            home,
            family,
            revision,
        } => tx.query_optional(
            "SELECT status, tags FROM task_definitions
             WHERE account = ?1 AND region = ?2 AND family = ?3 AND revision = ?4",
            params![
                home.account.as_str(),
                home.region.as_str(),
                family,
                *revision
            ],
            |row| {
                let status: TaskDefinitionStatus = parsed(row.text(0))?;
                Ok(Tagged {
                    is_active: status == TaskDefinitionStatus::Active,
                    tags: from_document(row.text(1))?,
                })
            },
        )?,
        NamedResource::CapacityProvider(home, name) => {
            let found = capacity_providers::by_name(tx, home, name)?;
            found.map(|provider| Tagged {
                is_active: provider.status == CapacityProviderStatus::Active,
                tags: provider.details.tags,
            })
        }
    })
}

/// Sets all tags of a resource that exists.
pub(crate) fn set(tx: &mut Tx<'_>, named: &NamedResource, tags: &[Tag]) -> db::Result<()> {
    match named {
        NamedResource::Cluster(name) => {
            if let Some(mut cluster) = clusters::by_name(tx, name)? {
                cluster.details.tags = tags.to_vec();
                clusters::update(tx, &cluster)?;
            }
        }
        NamedResource::Instance(_, id) => set_of_instance(tx, id, tags)?,
        NamedResource::Task(_, id) => {
            let details = tx.query_optional(
                "SELECT details FROM tasks WHERE task_id = ?1",
                params![&id.0],
                |row| with_tags(row.text(0), tags),
            )?;
            tx.execute(
                "UPDATE tasks SET details = ?1, version = version + 1 WHERE task_id = ?2",
                params![details.unwrap_or_default(), &id.0],
            )?;
        }
        NamedResource::Service(cluster, name) => {
            let Some((id, _)) = service(tx, cluster, name)? else {
                return Ok(());
            };
            let details = tx.query_optional(
                "SELECT details FROM services WHERE service_id = ?1",
                params![&id],
                |row| with_tags(row.text(0), tags),
            )?;
            tx.execute(
                "UPDATE services SET details = ?1, version = version + 1 WHERE service_id = ?2",
                params![details.unwrap_or_default(), &id],
            )?;
        }
        NamedResource::TaskDefinition {
            home,
            family,
            revision,
        } => {
            tx.execute(
                "UPDATE task_definitions SET tags = ?1
                 WHERE account = ?2 AND region = ?3 AND family = ?4 AND revision = ?5",
                params![
                    document(&tags)?,
                    home.account.as_str(),
                    home.region.as_str(),
                    family,
                    *revision
                ],
            )?;
        }
        NamedResource::CapacityProvider(home, name) => {
            if let Some(mut provider) = capacity_providers::by_name(tx, home, name)? {
                provider.details.tags = tags.to_vec();
                capacity_providers::put(tx, &provider)?;
            }
        }
    }
    Ok(())
}

fn set_of_instance(tx: &mut Tx<'_>, id: &InstanceId, tags: &[Tag]) -> db::Result<()> {
    let Some(mut instance) = instances::by_id(tx, id)? else {
        return Ok(());
    };
    instance.details.tags = tags.to_vec();
    let version = instance.version;
    instances::update(tx, &instance, version)?;
    Ok(())
}

/// A `details` document with other tags.
fn with_tags(details: &str, tags: &[Tag]) -> db::Result<String> {
    let mut details: serde_json::Value = from_document(details)?;
    details["tags"] = serde_json::to_value(tags).map_err(db::Error::other)?;
    document(&details)
}

/// What is read of the `details` of tasks and services.
#[derive(serde::Deserialize)]
struct Details {
    #[serde(default)]
    tags: Vec<Tag>,
}

fn task(tx: &mut Tx<'_>, cluster: &ClusterName, id: &TaskId) -> db::Result<Option<Tagged>> {
    let Some(cluster) = cluster_id(tx, cluster)? else {
        return Ok(None);
    };
    tx.query_optional(
        "SELECT last_status, details FROM tasks WHERE task_id = ?1 AND cluster_id = ?2",
        params![&id.0, &cluster.0],
        |row| {
            let status: TaskStatus = parsed(row.text(0))?;
            let Details { tags } = from_document(row.text(1))?;
            let is_active = status != TaskStatus::Stopped;
            Ok(Tagged { tags, is_active })
        },
    )
}

/// The newest service of the name, with its internal identifier.
fn service(
    tx: &mut Tx<'_>,
    cluster: &ClusterName,
    name: &str,
) -> db::Result<Option<(String, Tagged)>> {
    let Some(cluster) = cluster_id(tx, cluster)? else {
        return Ok(None);
    };
    tx.query_optional(
        "SELECT service_id, status, details FROM services WHERE cluster_id = ?1 AND name = ?2
         ORDER BY created_at DESC LIMIT 1",
        params![&cluster.0, name],
        |row| {
            let status: ServiceStatus = parsed(row.text(1))?;
            let Details { tags } = from_document(row.text(2))?;
            let is_active = status != ServiceStatus::Inactive;
            Ok((row.text(0).to_owned(), Tagged { tags, is_active }))
        },
    )
}

fn cluster_id(tx: &mut Tx<'_>, name: &ClusterName) -> db::Result<Option<ClusterId>> {
    Ok(clusters::by_name(tx, name)?.map(|cluster| cluster.id))
}
