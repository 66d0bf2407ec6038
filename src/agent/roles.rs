//! The newest credentials of a task's roles, shared by all that work for the task.

use std::sync::{Mutex, PoisonError};

use wharfinger_ecs_protocol::{RoleCredentials, Task};

/// The credentials of a task.
#[derive(Debug, Default)]
pub(crate) struct TaskRoles(Mutex<Roles>);

#[derive(Clone, Debug, Default)]
struct Roles {
    application: Option<RoleCredentials>,
    execution: Option<RoleCredentials>,
}

impl TaskRoles {
    /// Takes over what the record of the task has.
    pub(crate) fn set(&self, task: &Task) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Roles {
            application: task.role_credentials.clone(),
            execution: task.execution_role_credentials.clone(),
        };
    }

    /// Those of the task role, which containers may see.
    pub(crate) fn application(&self) -> Option<RoleCredentials> {
        self.get().application
    }

    /// Those of the execution role, which containers never see.
    pub(crate) fn execution(&self) -> Option<RoleCredentials> {
        self.get().execution
    }

    fn get(&self) -> Roles {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
