//! Takes over what came of the actions for a task.

use wharfinger_base::Timestamp;

use crate::record::{ContainerRecord, TaskRecord};
use crate::runtime::Inspection;
use crate::task_run::{Outcome, TaskRun};
use crate::view::{ContainerState, Exit, Work};

/// The exit code of a container that was removed by somebody else: as if it had been killed.
const REMOVED: i64 = 137;

impl TaskRun {
    /// Changes the record by the end of something that was under way.
    pub(super) fn apply(&mut self, outcome: Outcome) {
        let now = self.context.clock.now();
        match outcome {
            // The pull may have been given up in the meantime.
            Outcome::Resolved(name, _) if self.work.get(&name) != Some(&Work::Pull) => {}
            Outcome::Resolved(name, Ok(found)) => {
                let digest = found.digest.clone();
                self.change(&name, |container| {
                    container.image_digest = digest.or(container.image_digest.take());
                });
                self.pull_resolved(name, found);
            }
            Outcome::Resolved(name, Err(error)) => {
                self.work.remove(&name);
                self.pulls.remove(&name);
                self.fail(&name, error.to_string());
            }
            Outcome::Pulled(name, pulled) => {
                self.work.remove(&name);
                self.pulls.remove(&name);
                match pulled {
                    Err(error) => self.fail(&name, error.to_string()),
                    Ok(image) => self.change(&name, |container| {
                        container.state = ContainerState::Pulled;
                        container.image = Some(image.reference);
                        container.image_digest = image.digest;
                    }),
                }
            }
            Outcome::Created(name, created) => {
                self.work.remove(&name);
                match created {
                    Err(reason) => self.fail(&name, reason),
                    Ok(created) => {
                        self.reply_on(None, created.listener);
                        if let Some(mut namespace) = created.namespace {
                            let known = self.record.namespace.as_ref();
                            namespace.has_ended = known.is_some_and(|known| known.has_ended);
                            self.record.namespace = Some(namespace);
                        }
                        let address = self.record.namespace.as_ref();
                        let address = address.and_then(|one| one.address.clone());
                        self.change(&name, |container| {
                            container.state = ContainerState::Created;
                            container.created_at = Some(now);
                            container.runtime_id = Some(created.runtime_id);
                            container.address = address;
                        });
                    }
                }
            }
            Outcome::Started(name, started) => {
                self.work.remove(&name);
                match started {
                    Err(reason) => self.fail(&name, reason),
                    Ok(started) => {
                        self.ship(&name);
                        self.reply_on(Some(&name), started.listener);
                        self.see(&name, Some(started.seen), now);
                    }
                }
            }
            Outcome::Stopped(name, stopped) => {
                self.work.remove(&name);
                match stopped {
                    Ok(seen) => self.see(&name, Some(seen), now),
                    // Somebody else removed it.
                    Err(reason) if reason.is_empty() => self.see(&name, None, now),
                    Err(reason) => self.change(&name, |container| {
                        container.reason = Some(reason);
                    }),
                }
            }
            Outcome::Inspected(name, seen) => self.see(&name, seen, now),
            Outcome::InspectedNamespace(seen) => {
                if let Some(namespace) = &mut self.record.namespace {
                    namespace.has_ended |= !seen.is_some_and(|seen| seen.running);
                }
            }
            Outcome::Submitted(body) => {
                self.submitting = false;
                self.record.reported = Some(body);
            }
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut ContainerRecord)) {
        if let Some(container) = self.record.containers.get_mut(name) {
            change(container);
        }
    }

    fn see(&mut self, name: &str, seen: Option<Inspection>, now: Timestamp) {
        let starting = self.work.get(name) == Some(&Work::Start);
        see(&mut self.record, name, seen, starting, now);
        let container = self.record.containers.get(name);
        if !container.is_some_and(|one| one.state.is_running()) {
            self.attendance.leave(name);
        }
    }
}

/// Changes a container's record by what the runtime says of it.
fn see(
    record: &mut TaskRecord,
    name: &str,
    seen: Option<Inspection>,
    starting: bool,
    now: Timestamp,
) {
    let Some(container) = record.containers.get_mut(name) else {
        return;
    };
    let Some(seen) = seen else {
        removed(container, now);
        return;
    };
    container.runtime_id = Some(seen.id);
    if seen.running {
        let since = seen.started_at.unwrap_or(now);
        if matches!(container.state, ContainerState::Exited(_)) {
            container.restarts += 1;
        }
        container.state = ContainerState::Running { since };
        container.health = Some(seen.health);
        if container.ports.is_empty() || !seen.ports.is_empty() {
            container.ports = seen.ports;
        }
        if container.address.is_none() {
            container.address = seen.addresses.into_values().next();
        }
        return;
    }
    let Some(since) = seen.started_at else {
        if matches!(
            container.state,
            ContainerState::Absent | ContainerState::Pulled
        ) {
            container.state = ContainerState::Created;
        }
        return;
    };
    // While a container is started again, the end of its earlier run is not news.
    if starting || matches!(container.state, ContainerState::Exited(_)) {
        return;
    }
    let exit = Exit {
        code: seen.exit_code,
        since,
        at: seen.finished_at.unwrap_or(now).max(since),
    };
    container.state = ContainerState::Exited(exit);
    if seen.killed_for_memory {
        let reason = "OutOfMemoryError: Container killed due to memory usage";
        container.reason = Some(reason.to_owned());
    }
}

/// A container that was there and is not any more.
fn removed(container: &mut ContainerRecord, now: Timestamp) {
    let reason = "CannotInspectContainerError: the container was removed";
    match container.state {
        ContainerState::Running { since } => {
            container.state = ContainerState::Exited(Exit {
                code: REMOVED,
                since,
                at: now,
            });
            container.reason = Some(reason.to_owned());
        }
        ContainerState::Created => {
            container.state = ContainerState::Failed;
            container.reason = Some(reason.to_owned());
        }
        _ => {}
    }
}
