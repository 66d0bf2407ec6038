//! The names of the credentials of tasks.

use wharfinger_base::Ids;
use wharfinger_db::Tx;

use crate::assignments::Assignments;
use crate::assignments::reports::write;
use crate::error::Result;
use crate::model::{CredentialsIds, Task, TaskStatus};
use crate::store;

impl Assignments {
    /// The names of the credentials of a task, which it gets when they are first needed; `None` for
    /// a task that is stopped.
    pub async fn credentials_ids(&self, task: &Task, ids: &Ids) -> Result<Option<CredentialsIds>> {
        if let Some(known) = &task.details.credentials_ids {
            return Ok(Some(known.clone()));
        }
        let new = CredentialsIds {
            task_role: ids.uuid().to_string(),
            execution_role: ids.uuid().to_string(),
        };
        let id = task.id.clone();
        let work = move |tx: &mut Tx<'_>| -> Result<Option<CredentialsIds>> {
            let task = store::tasks::by_id(tx, &id)?;
            let Some(task) = task.filter(|task| task.last_status != TaskStatus::Stopped) else {
                return Ok(None);
            };
            let mut changed = task.clone();
            let known = changed
                .details
                .credentials_ids
                .get_or_insert_with(|| new.clone());
            let known = known.clone();
            if changed != task {
                write(tx, &task, &changed)?;
            }
            Ok(Some(known))
        };
        self.db.write(work).await
    }
}
