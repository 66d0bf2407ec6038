//! What containers may set in the network modes.

use crate::model::{NetworkMode, TaskDefinitionDocument};
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;
use crate::task_definition::linux::is_network_control;

/// Checks settings that not every network mode has.
pub(super) fn check(document: &TaskDefinitionDocument) -> Checked {
    let mode = document.network_mode.unwrap_or(NetworkMode::Bridge);
    for container in &document.container_definitions {
        let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if has(&container.links) && mode != NetworkMode::Bridge {
            return Err(refuse(format!(
                "Links are not supported when networkMode={mode}."
            )));
        }
        let unsupported = |what: &str| {
            Err(refuse(format!(
                "{what} are not supported on container when networkMode={mode}."
            )))
        };
        let own_network = mode == NetworkMode::Bridge || mode == NetworkMode::None;
        let hostname = container.hostname.as_deref().unwrap_or_default();
        if !hostname.is_empty() && !own_network {
            return unsupported("Hostnames");
        }
        if mode == NetworkMode::Awsvpc {
            if has(&container.dns_servers) {
                return unsupported("DNS servers");
            }
            if has(&container.dns_search_domains) {
                return unsupported("DNS search domains");
            }
            if container
                .extra_hosts
                .as_ref()
                .is_some_and(|hosts| !hosts.is_empty())
            {
                return unsupported("Extra hosts");
            }
            if container.disable_networking == Some(true) {
                return unsupported("Containers with disabled networking");
            }
        }
        let controls = container.system_controls.iter();
        let mut controls = controls.filter_map(|control| control.namespace.as_deref());
        if controls.any(is_network_control) && matches!(mode, NetworkMode::Host | NetworkMode::None)
        {
            return unsupported("Network system controls");
        }
    }
    Ok(())
}

/// Checks the rules of tasks on external instances.
pub(super) fn check_external(document: &TaskDefinitionDocument) -> Checked {
    if document.network_mode == Some(NetworkMode::Awsvpc) {
        return Err(refuse(
            "External launch type does not support network mode 'awsvpc'.",
        ));
    }
    Ok(())
}
