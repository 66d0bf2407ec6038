//! What a running task shows to the rest of the agent.

use std::sync::{Arc, Mutex, PoisonError};

use crate::record::TaskRecord;
use crate::step::{Step, TaskStatus};
use crate::view::Health;

/// The newest snapshot of a task.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Snapshot>);

/// A task at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) stopped: bool,
    /// The containers that run and have a health check, and what it says.
    pub(crate) health: Vec<(String, Health)>,
    pub(crate) record: Option<Arc<TaskRecord>>,
}

impl Shown {
    pub(crate) fn set(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    pub(crate) fn get(&self) -> Snapshot {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Snapshot {
    pub(crate) fn of(record: &TaskRecord, step: &Step) -> Self {
        let containers = record.task.containers.iter();
        let checked = containers.filter(|one| one.health_check_type.as_deref() == Some("docker"));
        let health = checked.filter_map(|one| {
            let container = record.containers.get(&one.name)?;
            let running = container.state.is_running();
            running.then(|| (one.name.clone(), container.health.unwrap_or_default()))
        });
        Self {
            stopped: step.status == TaskStatus::Stopped,
            health: health.collect(),
            record: Some(Arc::new(record.clone())),
        }
    }
}
