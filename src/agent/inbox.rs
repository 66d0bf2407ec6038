//! What has happened for a task since it last looked. Messages of one kind become one, so that it
//! cannot grow.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wharfinger_ecs_protocol::{RoleCredentials, RoleType};

/// The messages for a task.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: Mutex<Messages>,
    arrived: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// The control plane wants the task stopped.
    pub(crate) stop: bool,
    /// Containers, by their ids in the runtime, of which something has changed.
    pub(crate) changed: BTreeSet<String>,
    /// Changes may have been missed: all containers are to be looked at.
    pub(crate) look_at_all: bool,
    /// New credentials of the task role and of the execution role.
    pub(crate) application: Option<RoleCredentials>,
    pub(crate) execution: Option<RoleCredentials>,
}

impl Inbox {
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.arrived.notify_one();
    }

    pub(crate) fn changed(&self, runtime_id: String) {
        self.lock().changed.insert(runtime_id);
        self.arrived.notify_one();
    }

    pub(crate) fn look_at_all(&self) {
        self.lock().look_at_all = true;
        self.arrived.notify_one();
    }

    pub(crate) fn credentials(&self, of: RoleType, credentials: RoleCredentials) {
        let mut messages = self.lock();
        match of {
            RoleType::TaskApplication => messages.application = Some(credentials),
            RoleType::TaskExecution => messages.execution = Some(credentials),
        }
        drop(messages);
        self.arrived.notify_one();
    }

    /// Waits for messages and takes them.
    pub(crate) async fn take(&self) -> Messages {
        self.arrived.notified().await;
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
