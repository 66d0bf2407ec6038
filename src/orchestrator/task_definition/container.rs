//! The rules and defaults of one container.

use std::collections::BTreeSet;

use crate::model::{
    ContainerDefinition, ContainerRestartPolicy, EnvironmentFile, HealthCheck, KeyValuePair,
    NetworkMode, Ulimit,
};
use crate::task_definition::error::Checked;
use crate::task_definition::error::{invalid_container, invalid_setting, refuse};
use crate::task_definition::{linux, logging, names, ports};

/// Most exit codes that a restart policy ignores. Source: `ContainerRestartPolicy`.
const MAX_IGNORED_EXIT_CODES: usize = 50;

/// Checks a container and fills in its defaults.
pub(super) fn complete(container: &mut ContainerDefinition, mode: Option<NetworkMode>) -> Checked {
    let name = container.name.clone().unwrap_or_default();
    names::check(&name, "Container.name")?;
    names::check_image(container.image.as_deref().unwrap_or_default())?;
    container.essential.get_or_insert(true);
    container.cpu.get_or_insert(0);

    ports::complete(&name, &mut container.port_mappings, mode)?;
    complete_environment(&mut container.environment)?;
    for mount in &container.mount_points {
        let path = mount.container_path.as_deref().unwrap_or_default();
        if !names::is_absolute(path) {
            return Err(invalid_container(
                &name,
                "The 'containerPath' of a mount point must be an absolute path.",
            ));
        }
    }
    check_mount_paths(&name, container)?;
    if let Some(check) = &mut container.health_check {
        complete_health_check(&name, check)?;
    }
    if let Some(policy) = &mut container.restart_policy {
        complete_restart_policy(&name, policy)?;
    }
    check_timeouts(&name, container)?;
    for ulimit in container.ulimits.iter().flatten() {
        check_ulimit(&name, ulimit)?;
    }
    if let Some(logs) = &container.log_configuration {
        logging::check(logs)?;
    }
    if let Some(parameters) = &container.linux_parameters {
        linux::check(&name, parameters)?;
    }
    check_network_settings(&name, container)?;
    check_files(&name, container)
}

fn complete_environment(environment: &mut [KeyValuePair]) -> Checked {
    for variable in environment {
        check_variable_name(variable.name.as_deref().unwrap_or_default())?;
        variable.value.get_or_insert_default();
    }
    Ok(())
}

/// Checks the name of an environment variable: Docker would read `=` as its end.
pub(super) fn check_variable_name(name: &str) -> Checked {
    if name.is_empty() {
        return Err(refuse(
            "Environment variable name should not be null or empty.",
        ));
    }
    if name.contains(['=', '\0']) {
        return Err(refuse(
            "Environment variable name contains invalid characters.",
        ));
    }
    Ok(())
}

fn check_mount_paths(name: &str, container: &ContainerDefinition) -> Checked {
    let mounts = container.mount_points.iter();
    let mounts = mounts.filter_map(|mount| mount.container_path.as_deref());
    let tmpfs = container.linux_parameters.iter();
    let tmpfs = tmpfs.flat_map(|parameters| parameters.tmpfs.iter().flatten());
    let tmpfs = tmpfs.map(|tmpfs| tmpfs.container_path.as_str());
    let mut paths = BTreeSet::new();
    for path in mounts.chain(tmpfs) {
        if !paths.insert(path) {
            return Err(invalid_container(
                name,
                &format!("The path '{path}' is mounted more than once."),
            ));
        }
    }
    Ok(())
}

fn complete_health_check(name: &str, check: &mut HealthCheck) -> Checked {
    let invalid = |reason: &str| Err(invalid_container(name, reason));
    let words = check.command.len();
    match check.command.first().map(String::as_str) {
        Some("CMD") if words > 1 => {}
        Some("CMD-SHELL") if words == 2 => {}
        _ => {
            return invalid(
                "The health check command must start with CMD or CMD-SHELL and name a command.",
            );
        }
    }
    let between = |value: i32, from: i32, to: i32, what: &str| {
        if (from..=to).contains(&value) {
            return Ok(());
        }
        let reason = format!("The health check {what} must be between {from} and {to}.");
        Err(invalid_container(name, &reason))
    };
    between(*check.interval.get_or_insert(30), 5, 300, "interval")?;
    between(*check.timeout.get_or_insert(5), 2, 60, "timeout")?;
    between(*check.retries.get_or_insert(3), 1, 10, "retries")?;
    between(check.start_period.unwrap_or(0), 0, 300, "startPeriod")
}

fn complete_restart_policy(name: &str, policy: &mut ContainerRestartPolicy) -> Checked {
    let ignored = policy.ignored_exit_codes.as_deref().unwrap_or_default();
    if ignored.len() > MAX_IGNORED_EXIT_CODES {
        return Err(invalid_container(
            name,
            "A restart policy can ignore at most 50 exit codes.",
        ));
    }
    if policy.enabled && !(60..=1800).contains(policy.restart_attempt_period.get_or_insert(300)) {
        return Err(invalid_container(
            name,
            "The 'restartAttemptPeriod' must be between 60 and 1800.",
        ));
    }
    Ok(())
}

fn check_timeouts(name: &str, container: &ContainerDefinition) -> Checked {
    if container.start_timeout.is_some_and(|seconds| seconds < 2) {
        return Err(invalid_setting("startTimeout", name));
    }
    if container.stop_timeout.is_some_and(|seconds| seconds < 2) {
        return Err(invalid_setting("stopTimeout", name));
    }
    Ok(())
}

/// `-1` is no limit.
fn check_ulimit(name: &str, ulimit: &Ulimit) -> Checked {
    let (soft, hard) = (ulimit.soft_limit, ulimit.hard_limit);
    let unlimited = hard == -1;
    if soft < -1 || hard < -1 || (!unlimited && (soft == -1 || soft > hard)) {
        let ulimit = &ulimit.name;
        let reason = format!("The soft limit of ulimit '{ulimit}' must not exceed its hard limit.");
        return Err(invalid_container(name, &reason));
    }
    Ok(())
}

fn check_network_settings(name: &str, container: &ContainerDefinition) -> Checked {
    for server in container.dns_servers.iter().flatten() {
        if server.parse::<std::net::IpAddr>().is_err() {
            return Err(invalid_setting("dnsServers", name));
        }
    }
    for domain in container.dns_search_domains.iter().flatten() {
        if !is_host_name(domain) {
            return Err(invalid_setting("dnsSearchDomains", name));
        }
    }
    for host in container.extra_hosts.iter().flatten() {
        let gateway = host.ip_address == "host-gateway"; // Docker's own word.
        let address = host.ip_address.parse::<std::net::IpAddr>().is_ok();
        if host.hostname.is_empty() || host.hostname.contains([':', '\0']) || !(gateway || address)
        {
            return Err(invalid_setting("extraHosts", name));
        }
    }
    let hostname = container.hostname.as_deref();
    if hostname.is_some_and(|host| !is_host_name(host)) {
        return Err(invalid_setting("hostname", name));
    }
    for control in &container.system_controls {
        let namespace = control.namespace.as_deref().unwrap_or_default();
        if !linux::is_system_control(namespace) || control.value.is_none() {
            return Err(invalid_setting("systemControls", name));
        }
    }
    Ok(())
}

fn is_host_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-')
}

fn check_files(name: &str, container: &ContainerDefinition) -> Checked {
    for file in container.environment_files.iter().flatten() {
        if !file.is_valid() {
            return Err(invalid_container(name, EnvironmentFile::RULE));
        }
    }
    let directory = container.working_directory.as_deref();
    if directory.is_some_and(|path| !path.is_empty() && !names::is_absolute(path)) {
        return Err(invalid_setting("workingDirectory", name));
    }
    for option in container.docker_security_options.iter().flatten() {
        let known = ["label:", "apparmor:", "seccomp:"];
        if option != "no-new-privileges" && !known.iter().any(|prefix| option.starts_with(prefix)) {
            return Err(invalid_setting("dockerSecurityOptions", name));
        }
    }
    Ok(())
}
