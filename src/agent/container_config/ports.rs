//! The published ports of a container. PURE.

use serde_json::{Map, Value, json};
use wharfinger_ecs_protocol::PortMapping;

type Object = Map<String, Value>;

/// Docker's `ExposedPorts` and `PortBindings`. A host port of 0 is chosen by the engine.
///
/// # Errors
/// A mapping without a port, or a range that is none.
pub(super) fn port_bindings(
    mappings: &[PortMapping],
    bind_ip: &str,
) -> Result<(Object, Object), String> {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for mapping in mappings {
        let protocol = mapping.protocol.as_deref().unwrap_or("tcp");
        for port in container_ports(mapping)? {
            let key = format!("{port}/{protocol}");
            let host_port = match mapping.host_port.unwrap_or(0) {
                0 => String::new(),
                port => port.to_string(),
            };
            exposed.insert(key.clone(), json!({}));
            let binding = json!({"HostIp": bind_ip, "HostPort": host_port});
            match bindings.get_mut(&key) {
                Some(Value::Array(all)) => all.push(binding),
                _ => {
                    bindings.insert(key, json!([binding]));
                }
            }
        }
    }
    Ok((exposed, bindings))
}

/// The ports of a mapping: one, or a range.
fn container_ports(mapping: &PortMapping) -> Result<Vec<u16>, String> {
    if let Some(range) = &mapping.container_port_range {
        let ends = range.split_once('-');
        let ends = ends.and_then(|(first, last)| Some((parse(first)?, parse(last)?)));
        return match ends {
            Some((first, last)) if first <= last => Ok((first..=last).collect()),
            _ => Err(format!("{range} is not a range of ports")),
        };
    }
    let port = mapping.container_port.filter(|port| *port > 0);
    port.map(|port| vec![port])
        .ok_or_else(|| "a port mapping names no port".to_owned())
}

fn parse(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bound_to_the_address_of_the_instance() {
        let static_port = PortMapping {
            container_port: Some(80),
            host_port: Some(8080),
            ..PortMapping::default()
        };
        let range = PortMapping {
            container_port_range: Some("5000-5001".to_owned()),
            protocol: Some("udp".to_owned()),
            ..PortMapping::default()
        };
        let made = port_bindings(&[static_port, range], "127.0.1.2").expect("valid");
        let (exposed, bindings) = (Value::Object(made.0), Value::Object(made.1));
        assert_eq!(
            exposed,
            json!({"80/tcp": {}, "5000/udp": {}, "5001/udp": {}})
        );
        let expected = json!({
            "80/tcp": [{"HostIp": "127.0.1.2", "HostPort": "8080"}],
            "5000/udp": [{"HostIp": "127.0.1.2", "HostPort": ""}],
            "5001/udp": [{"HostIp": "127.0.1.2", "HostPort": ""}],
        });
        assert_eq!(bindings, expected);
    }

    #[test]
    fn a_mapping_without_ports_is_an_error() {
        assert!(port_bindings(&[PortMapping::default()], "").is_err());
        for range in ["80", "90-80", "0-1", "a-b"] {
            let mapping = PortMapping {
                container_port_range: Some(range.to_owned()),
                ..PortMapping::default()
            };
            assert!(port_bindings(&[mapping], "").is_err(), "{range}");
        }
    }
}
