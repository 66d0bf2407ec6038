//! Docker's structures as the agent's.

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, HealthStatusEnum, PortMap};
use wharfinger_base::Timestamp;

use crate::runtime::docker::REQUEST_TIMEOUT;
use crate::runtime::{Inspection, PortBinding, RuntimeError};
use crate::view::Health;

pub(super) fn inspection(found: ContainerInspectResponse) -> Inspection {
    let state = found.state.unwrap_or_default();
    let network = found.network_settings.unwrap_or_default();
    let health = state.health.and_then(|health| health.status);
    let addresses = network.networks.unwrap_or_default().into_iter();
    let addresses = addresses.filter_map(|(name, endpoint)| {
        let address = endpoint.ip_address.filter(|address| !address.is_empty())?;
        Some((name, address))
    });
    let running = state.running.unwrap_or(false);
    Inspection {
        id: found.id.unwrap_or_default(),
        running,
        exit_code: state.exit_code.unwrap_or(0),
        killed_for_memory: state.oom_killed.unwrap_or(false),
        error: state.error.unwrap_or_default(),
        started_at: state.started_at.as_deref().and_then(time),
        finished_at: state.finished_at.as_deref().and_then(time),
        health: match health {
            Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
            _ => Health::Unknown,
        },
        ports: binding_ports(network.ports.unwrap_or_default()),
        addresses: addresses.collect(),
        pid: state
            .pid
            .filter(|pid| running && *pid > 0)
            .and_then(|pid| i32::try_from(pid).ok()),
    }
}

/// The published ports, sorted.
fn binding_ports(ports: PortMap) -> Vec<PortBinding> {
    let mut bindings = Vec::new();
    #[expect(clippy::iter_over_hash_type, reason = "the result is sorted")]
    for (port, published) in ports {
        let Some((number, protocol)) = port.split_once('/') else {
            continue;
        };
        for one in published.unwrap_or_default() {
            let host_port = one.host_port.as_deref().unwrap_or_default();
            let (Ok(container_port), Ok(host_port)) = (number.parse(), host_port.parse()) else {
                continue;
            };
            bindings.push(PortBinding {
                bind_ip: one.host_ip.unwrap_or_default(),
                container_port,
                host_port,
                protocol: protocol.to_owned(),
            });
        }
    }
    bindings.sort();
    bindings
}

/// A time of the Docker Engine; `None` for its zero value.
fn time(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    let ms = instant.as_millisecond();
    (ms > 0).then(|| Timestamp::from_ms(ms))
}

pub(super) fn runtime_error(error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => refusal(status_code, message),
        Error::DockerStreamError { error } => refusal(0, error),
        Error::RequestTimeoutError => RuntimeError::TimedOut(REQUEST_TIMEOUT),
        Error::JsonDataError { message, .. } => RuntimeError::Invalid(message),
        Error::JsonSerdeError { err } => RuntimeError::Invalid(err.to_string()),
        other => RuntimeError::Unreachable(other.to_string()),
    }
}

/// An error by what the engine says about it.
fn refusal(status: u16, message: String) -> RuntimeError {
    let lower = message.to_lowercase();
    let unauthorized = ["no basic auth credentials", "unauthorized", "denied: "];
    if unauthorized.iter().any(|words| lower.contains(words)) {
        return RuntimeError::Unauthorized(message);
    }
    if status == 404 {
        return RuntimeError::Missing(message);
    }
    RuntimeError::Refused(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_refuses_access_is_told_from_an_image_that_is_missing() {
        let by_registry = [
            "pull access denied for web, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied",
            "Head \"https://registry.example/v2/web/manifests/latest\": no basic auth credentials",
            "Get \"https://registry.example/v2/\": unauthorized: authentication required",
            "Head \"https://registry.example/v2/web/manifests/latest\": denied: User: \
             arn:aws:iam::1:user/ann is not authorized to perform: ecr:BatchGetImage",
        ];
        // The engine reports it with whatever status, or in the stream of a pull.
        for message in by_registry {
            for status in [0, 404, 500] {
                let error = refusal(status, message.to_owned());
                assert!(
                    matches!(error, RuntimeError::Unauthorized(_)),
                    "{message}: {error:?}"
                );
                assert_eq!(error.to_string(), message);
            }
        }
        let missing = "manifest for web:none not found: manifest unknown";
        assert!(matches!(
            refusal(404, missing.to_owned()),
            RuntimeError::Missing(_)
        ));
        let refused = "No command specified";
        assert!(matches!(
            refusal(400, refused.to_owned()),
            RuntimeError::Refused(_)
        ));
        assert!(matches!(
            refusal(0, missing.to_owned()),
            RuntimeError::Refused(_)
        ));
    }
}
