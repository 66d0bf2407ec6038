//! Removal of the containers with a label.

use crate::runtime::{ContainerRuntime, ListedContainer};

/// Removes the containers with a label but for those that are kept. Returns whether no other one is
/// left; else this is to be called again.
pub(crate) async fn remove_containers(
    runtime: &dyn ContainerRuntime,
    label: &str,
    is_kept: impl Fn(&ListedContainer) -> bool,
) -> bool {
    let listed = match runtime.list(label).await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(label, %error, "containers were not listed");
            return false;
        }
    };
    let mut all = true;
    for container in listed.into_iter().filter(|one| !is_kept(one)) {
        tracing::warn!(
            container = container.id,
            "removing a container without a task"
        );
        if let Err(error) = runtime.remove(&container.id).await {
            tracing::warn!(container = container.id, %error, "a container was not removed");
            all = false;
        }
    }
    all
}
