//! Port mappings.

use std::collections::BTreeSet;

use crate::model::{ContainerDefinition, NetworkMode, PortMapping, TransportProtocol};
use crate::task_definition::error::Checked;
use crate::task_definition::error::{invalid_setting, refuse};

/// Most port mappings of a container. Source: `ContainerDefinition`, ports of an instance.
const MAX_MAPPINGS: usize = 100;
const PORTS: std::ops::RangeInclusive<i32> = 1..=65_535;

/// Checks the port mappings of a container and fills in protocols and host ports.
pub(super) fn complete(
    name: &str,
    mappings: &mut [PortMapping],
    mode: Option<NetworkMode>,
) -> Checked {
    if mappings.len() > MAX_MAPPINGS {
        return Err(invalid_setting("portMappings", name));
    }
    if mode == Some(NetworkMode::None) && !mappings.is_empty() {
        return Err(refuse(
            "Port mappings are not supported when networkMode=none.",
        ));
    }
    for mapping in mappings {
        mapping.protocol.get_or_insert(TransportProtocol::Tcp);
        check_names(name, mapping)?;
        if let Some(range) = &mapping.container_port_range {
            let alone = mapping.container_port.is_none() && mapping.host_port.is_none();
            if !alone || port_range(range).is_none() || mode == Some(NetworkMode::Host) {
                return Err(invalid_setting("containerPortRange", name));
            }
            continue;
        }
        let container_port = mapping.container_port.filter(|port| PORTS.contains(port));
        let container_port =
            container_port.ok_or_else(|| invalid_setting("containerPort", name))?;
        match mode {
            None | Some(NetworkMode::Bridge | NetworkMode::None) => {
                let host_port = *mapping.host_port.get_or_insert(0);
                if host_port != 0 && !PORTS.contains(&host_port) {
                    return Err(invalid_setting("hostPort", name));
                }
            }
            Some(mode @ (NetworkMode::Host | NetworkMode::Awsvpc)) => {
                if *mapping.host_port.get_or_insert(container_port) != container_port {
                    return Err(refuse(format!(
                        "When networkMode={mode}, the host ports and container ports in port \
                         mappings must match."
                    )));
                }
            }
        }
    }
    Ok(())
}

fn check_names(name: &str, mapping: &PortMapping) -> Checked {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let named = mapping.name.as_deref();
    if named.is_some_and(|text| {
        !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) || text.starts_with('-')
    }) {
        return Err(invalid_setting("portMappings.name", name));
    }
    let protocol = mapping.app_protocol.as_deref();
    if protocol.is_some_and(|protocol| !["http", "http2", "grpc"].contains(&protocol)) {
        return Err(invalid_setting("appProtocol", name));
    }
    Ok(())
}

/// The first and last port of `4000-4010`.
pub(crate) fn port_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = text.split_once('-')?;
    let (first, last) = (port(first)?, port(last)?);
    (0 < first && first <= last).then_some((first, last))
}

/// Checks what port mappings of all containers share: host ports and names.
pub(super) fn check_task(containers: &[ContainerDefinition]) -> Checked {
    let (mut ports, mut names) = (BTreeSet::new(), BTreeSet::new());
    for mapping in containers
        .iter()
        .flat_map(|container| &container.port_mappings)
    {
        let port = mapping.host_port.filter(|port| *port != 0);
        if let (Some(port), Some(protocol)) = (port, mapping.protocol)
            && !ports.insert((protocol, port))
        {
            let protocol = protocol.as_str().to_ascii_uppercase();
            return Err(refuse(format!(
                "{protocol} host port '{port}' is mapped multiple times in task."
            )));
        }
        if let Some(name) = &mapping.name
            && !names.insert(name)
        {
            return Err(refuse(format!("Duplicate port mapping name '{name}'.")));
        }
    }
    Ok(())
}
