//! Listings of tasks.

use wharfinger_base::Page;
use wharfinger_db::{self as db, Tx};

use crate::error::Result;
use crate::model::{ClusterId, DesiredStatus, InstanceId, LaunchType, ServiceId, Task, TaskId};
use crate::store::tasks::{self as store, TaskScope};
use crate::tasks::Tasks;

/// Rows that one call looks at: the rest of a listing whose conditions few tasks meet is for the
/// next call.
const MAX_ROWS: usize = 5_000;

/// Which tasks are listed. All conditions must be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFilter {
    pub desired: DesiredStatus,
    pub instance: Option<InstanceId>,
    pub service: Option<ServiceId>,
    pub family: Option<String>,
    pub started_by: Option<String>,
    pub launch_type: Option<LaunchType>,
}

impl Tasks {
    /// Up to `limit` tasks of the cluster with identifiers after `after`, in their order. A page
    /// may have fewer though others follow; its key is the last one that was looked at.
    pub async fn list(
        &self,
        cluster: &ClusterId,
        filter: &TaskFilter,
        after: &str,
        limit: usize,
    ) -> Result<Page<TaskId>> {
        let (cluster, filter, after) = (cluster.clone(), filter.clone(), after.to_owned());
        let read = move |tx: &mut Tx<'_>| -> db::Result<_> {
            let scope = filter.scope();
            let (mut found, mut last) = (Vec::new(), after.clone());
            let mut looked_at = 0;
            loop {
                let rows = store::page(tx, &cluster, &scope, filter.desired, &last, limit + 1)?;
                let is_end = rows.len() <= limit;
                looked_at += rows.len();
                for task in rows {
                    if found.len() == limit {
                        return Ok((found, Some(last)));
                    }
                    last.clone_from(&task.id.0);
                    if filter.passes(&task) {
                        found.push(task.id);
                    }
                }
                if is_end {
                    return Ok((found, None));
                }
                if looked_at >= MAX_ROWS {
                    return Ok((found, Some(last)));
                }
            }
        };
        let (items, next) = self.db.read(read).await?;
        Ok(Page { items, next })
    }
}

impl TaskFilter {
    /// The condition that the fewest tasks meet, by its kind.
    fn scope(&self) -> TaskScope {
        if let Some(instance) = &self.instance {
            return TaskScope::Instance(instance.clone());
        }
        if let Some(starter) = &self.started_by {
            return TaskScope::StartedBy(starter.clone());
        }
        if let Some(service) = &self.service {
            return TaskScope::Service(service.clone());
        }
        let family = self.family.clone();
        family.map_or(TaskScope::Cluster, TaskScope::Family)
    }

    fn passes(&self, task: &Task) -> bool {
        let launch_type = self.launch_type;
        let is =
            |wanted: Option<&String>, value: Option<&String>| wanted.is_none() || wanted == value;
        launch_type.is_none_or(|wanted| wanted == task.launch_type)
            && is(self.family.as_ref(), Some(&task.definition.family))
            && is(self.started_by.as_ref(), task.started_by.as_ref())
            && (self.service.is_none() || self.service == task.service)
            && (self.instance.is_none() || self.instance == task.instance)
    }
}
