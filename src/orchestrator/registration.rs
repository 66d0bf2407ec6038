//! What an agent says of its host at registration. PURE.
//!
//! Source: ECS API reference, `RegisterContainerInstance` and `Attribute`; the requests of Amazon's
//! agent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::identifiers::is_name;
use crate::model::{Attribute, Capacity, InstanceDetails, InstanceId, Resource, Tag, VersionInfo};

/// Most attributes of an instance. Amazon's agent registers some 80.
const MAX_ATTRIBUTES: usize = 500;

/// Longest version that an agent tells of itself and of its engine.
const MAX_VERSION_BYTES: usize = 255;
const MAX_ATTRIBUTE_CHARS: usize = 128;
/// Most ports that an instance reserves (ECS developer guide, "Container instance": 100 per host).
const MAX_PORTS: usize = 100;

/// The attribute with the instance's zone.
const ZONE: &str = "ecs.availability-zone";
/// An attribute of this server: the capacity provider that the instance belongs to. In AWS that
/// follows from the instance's Auto Scaling group.
const CAPACITY_PROVIDER: &str = "ecs.capacity-provider";

/// A registration as it was requested.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    pub total_resources: Vec<Resource>,
    pub attributes: Vec<Attribute>,
    pub version_info: VersionInfo,
    /// The document that EC2 gives to the instance. Its signature is not verified: who may
    /// register is up to policies.
    pub identity_document: Option<String>,
    pub tags: Vec<Tag>,
    /// The unique id of the IAM principal that registers the instance, and may act for it.
    pub registered_by: String,
    /// The instance that this principal may register again although another one registered it.
    pub administers: Option<InstanceId>,
}

/// The parts of an instance identity document that are used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IdentityDocument {
    instance_id: Option<String>,
    image_id: Option<String>,
    instance_type: Option<String>,
    availability_zone: Option<String>,
}

/// Whether an attribute is one that users may set and delete: those with ECS's prefixes are not.
pub(crate) fn is_custom(name: &str) -> bool {
    !name.starts_with("ecs.") && !name.starts_with("com.amazonaws.ecs.")
}

/// Checks the name and value of an attribute.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check_attribute(name: &str, value: Option<&str>) -> Result<()> {
    let sized = |text: &str| (1..=MAX_ATTRIBUTE_CHARS).contains(&text.len());
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/\\.".contains(&byte);
    if !sized(name) || !name.bytes().all(in_name) {
        return invalid(format!(
            "The attribute name '{}' is invalid. It must have 1 to {MAX_ATTRIBUTE_CHARS} letters, \
             digits, hyphens, underscores, slashes, backslashes and periods.",
            shown(name)
        ));
    }
    let Some(value) = value else { return Ok(()) };
    let in_value = |byte: u8| in_name(byte) || b"@: ".contains(&byte);
    let trimmed = value.trim_matches(' ') == value;
    if !sized(value) || !value.bytes().all(in_value) || !trimmed {
        return invalid(format!(
            "The value of the attribute {name} is invalid. It must have 1 to \
             {MAX_ATTRIBUTE_CHARS} letters, digits, hyphens, underscores, periods, at signs, \
             slashes, backslashes, colons and spaces, and no space at its start and end."
        ));
    }
    Ok(())
}

/// Checks as much of a request as needs no look at what the instance had before.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check(request: &Registration) -> Result<()> {
    if request.attributes.len() > MAX_ATTRIBUTES {
        return too_many_attributes();
    }
    for attribute in &request.attributes {
        check_attribute(&attribute.name, value(attribute))?;
    }
    let version = &request.version_info;
    let texts = [
        &version.agent_version,
        &version.agent_hash,
        &version.docker_version,
    ];
    if texts
        .into_iter()
        .flatten()
        .any(|text| text.len() > MAX_VERSION_BYTES)
    {
        return invalid(format!(
            "The members of versionInfo can have at most {MAX_VERSION_BYTES} bytes."
        ));
    }
    Ok(())
}

/// The value of a reported attribute. Agents send an empty text for no value.
fn value(attribute: &Attribute) -> Option<&str> {
    attribute.value.as_deref().filter(|value| !value.is_empty())
}

fn too_many_attributes<T>() -> Result<T> {
    invalid(format!(
        "A container instance can have at most {MAX_ATTRIBUTES} attributes."
    ))
}

/// What an instance has by a checked registration in a region. `old` is what it had before, of
/// which the attributes that users set and the tags stay.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn details(
    request: &Registration,
    region: &str,
    old: Option<&InstanceDetails>,
) -> Result<InstanceDetails> {
    let identity = identity(request.identity_document.as_deref())?;
    let zone = format!("{region}a");
    let mut attributes: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let custom = old.map_or(&[][..], |old| &old.attributes);
    let custom = custom.iter().filter(|one| is_custom(&one.name));
    attributes.extend(custom.map(|one| (one.name.as_str(), one.value.as_deref())));
    attributes.insert(ZONE, Some(&zone));
    for (name, value) in [
        ("ecs.ami-id", &identity.image_id),
        ("ecs.instance-type", &identity.instance_type),
        (ZONE, &identity.availability_zone),
    ] {
        if let Some(value) = value {
            check_attribute(name, Some(value))?;
            attributes.insert(name, Some(value));
        }
    }
    let reported = request.attributes.iter();
    attributes.extend(reported.map(|one| (one.name.as_str(), value(one))));
    if attributes.len() > MAX_ATTRIBUTES {
        return too_many_attributes();
    }
    let attributes = attributes.into_iter().map(|(name, value)| Attribute {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        ..Attribute::default()
    });
    let attributes: Vec<Attribute> = attributes.collect();
    let capacity_provider = attributes.iter().find(|one| one.name == CAPACITY_PROVIDER);
    let capacity_provider = capacity_provider.and_then(|one| one.value.clone());
    if !capacity_provider.as_deref().is_none_or(is_name) {
        return invalid("The name of the capacity provider is invalid.".to_owned());
    }
    let tags = old.map(|old| old.tags.clone()).unwrap_or_default();
    Ok(InstanceDetails {
        registered: Capacity {
            cpu: integer(&request.total_resources, "CPU")?,
            memory_mib: integer(&request.total_resources, "MEMORY")?,
        },
        host_tcp_ports: ports(&request.total_resources, "PORTS")?,
        host_udp_ports: ports(&request.total_resources, "PORTS_UDP")?,
        ec2_instance_id: identity.instance_id,
        capacity_provider,
        is_fargate: false,
        version_info: request.version_info.clone(),
        attributes,
        status_reason: None,
        tags: if old.is_some() {
            tags
        } else {
            request.tags.clone()
        },
        registered_by: request.registered_by.clone(),
    })
}

fn identity(document: Option<&str>) -> Result<IdentityDocument> {
    let Some(text) = document.filter(|text| !text.is_empty()) else {
        return Ok(IdentityDocument::default());
    };
    let parsed = serde_json::from_str(text).ok();
    let parsed: IdentityDocument = parsed.ok_or_else(|| {
        Error::InvalidParameter("The instance identity document is invalid.".to_owned())
    })?;
    let id = parsed.instance_id.as_deref().unwrap_or("i-0");
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=MAX_ATTRIBUTE_CHARS).contains(&id.len()) && id.bytes().all(legal) {
        Ok(parsed)
    } else {
        invalid("The instance identity document is invalid.".to_owned())
    }
}

fn resource<'a>(resources: &'a [Resource], name: &str) -> Option<&'a Resource> {
    let named = |one: &&Resource| one.name.as_deref() == Some(name);
    resources.iter().find(named)
}

/// A resource that every instance has, in whichever number type it was given.
fn integer(resources: &[Resource], name: &str) -> Result<i64> {
    let found = resource(resources, name);
    let value = found.and_then(|one| {
        let integer = one.integer_value.filter(|value| *value != 0).map(i64::from);
        integer.or(one.long_value.filter(|value| *value != 0))
    });
    match value {
        Some(value) if (1..=i64::from(i32::MAX)).contains(&value) => Ok(value),
        _ => invalid(format!(
            "A container instance must register a positive amount of {name}."
        )),
    }
}

fn ports(resources: &[Resource], name: &str) -> Result<BTreeSet<u16>> {
    let found = resource(resources, name);
    let texts = found.and_then(|one| one.string_set_value.as_deref());
    let texts = texts.unwrap_or_default();
    if texts.len() > MAX_PORTS {
        return invalid(format!(
            "A container instance can reserve at most {MAX_PORTS} {name}."
        ));
    }
    let port = |text: &String| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => invalid(format!("'{}' is no port.", shown(text))),
    };
    texts.iter().map(port).collect()
}

fn invalid<T>(message: String) -> Result<T> {
    Err(Error::InvalidParameter(message))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_ATTRIBUTE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Vec<Resource> {
        let integer = |name: &str, value| Resource {
            name: Some(name.to_owned()),
            integer_value: Some(value),
            ..Resource::default()
        };
        let ports = Resource {
            name: Some("PORTS".to_owned()),
            string_set_value: Some(vec!["22".to_owned(), "2375".to_owned()]),
            ..Resource::default()
        };
        vec![integer("CPU", 2048), integer("MEMORY", 4000), ports]
    }

    fn attribute(name: &str, value: Option<&str>) -> Attribute {
        Attribute {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            ..Attribute::default()
        }
    }

    fn request(attributes: Vec<Attribute>) -> Registration {
        Registration {
            total_resources: resources(),
            attributes,
            ..Registration::default()
        }
    }

    fn value<'a>(details: &'a InstanceDetails, name: &str) -> Option<&'a str> {
        let found = details.attributes.iter().find(|one| one.name == name);
        found.and_then(|one| one.value.as_deref())
    }

    #[test]
    fn a_registration_is_read() {
        let mut request = request(vec![
            attribute("stack", Some("blue")),
            attribute("ecs.capability.x", Some("")),
            attribute("ecs.capacity-provider", Some("big")),
        ]);
        let details = details(&request, "us-east-1", None).expect("details");
        assert_eq!(
            (details.registered.cpu, details.registered.memory_mib),
            (2048, 4000)
        );
        assert_eq!(details.host_tcp_ports, [22, 2375].into());
        assert_eq!(value(&details, "ecs.availability-zone"), Some("us-east-1a"));
        assert_eq!(value(&details, "ecs.capability.x"), None);
        assert_eq!(details.capacity_provider.as_deref(), Some("big"));
        request.identity_document = Some(
            r#"{"instanceId":"i-1","imageId":"ami-1","availabilityZone":"us-east-1c","x":[]}"#
                .to_owned(),
        );
        let details = super::details(&request, "us-east-1", None).expect("details");
        assert_eq!(details.ec2_instance_id.as_deref(), Some("i-1"));
        assert_eq!(value(&details, "ecs.ami-id"), Some("ami-1"));
        assert_eq!(value(&details, "ecs.availability-zone"), Some("us-east-1c"));
    }

    #[test]
    fn what_users_set_stays_over_a_new_registration() {
        let first = request(vec![
            attribute("ecs.capability.old", None),
            attribute("a", Some("1")),
        ]);
        let mut old = details(&first, "us-east-1", None).expect("details");
        old.attributes.push(attribute("set", Some("by a user")));
        let second = request(vec![attribute("a", Some("2"))]);
        let new = details(&second, "us-east-1", Some(&old)).expect("details");
        assert_eq!(value(&new, "set"), Some("by a user"));
        assert_eq!(value(&new, "a"), Some("2"));
        assert!(
            !new.attributes
                .iter()
                .any(|one| one.name == "ecs.capability.old")
        );
    }

    #[test]
    fn what_is_no_registration_is_refused() {
        let refused = |request: &Registration| {
            let checked = check(request).and_then(|()| details(request, "us-east-1", None));
            checked.is_err()
        };
        assert!(refused(&Registration::default()));
        for name in ["", "a b", "ä", &"x".repeat(129)] {
            assert!(refused(&request(vec![attribute(name, None)])), "{name}");
        }
        for value in [" a", "a ", "a,b", &"x".repeat(129)] {
            assert!(
                refused(&request(vec![attribute("a", Some(value))])),
                "{value}"
            );
        }
        let mut odd = request(vec![attribute("a", None); MAX_ATTRIBUTES + 1]);
        assert!(refused(&odd), "the same attribute too often");
        odd = request(Vec::new());
        odd.total_resources[2].string_set_value = Some(vec!["65536".to_owned()]);
        assert!(refused(&odd));
        odd = request(Vec::new());
        odd.identity_document = Some("{".to_owned());
        assert!(refused(&odd));
    }
}
