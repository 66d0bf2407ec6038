//! Names and ARNs in requests: every member takes the short name or identifier, or the full ARN.
//! PURE.
//!
//! Source: the ECS API reference and developer guide, "Amazon Resource Names (ARNs) and IDs";
//! messages as clients quote them.

use wharfinger_aws::Arn;

use crate::model::{AccountRegion, ClusterName, InstanceId, TaskId};

/// The cluster of requests that name none.
pub const DEFAULT_CLUSTER: &str = "default";

/// Most characters of the name of a cluster, service or capacity provider.
const MAX_NAME_CHARS: usize = 255;

/// Why a text names no resource of the kind that a request needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    #[error("Invalid identifier: Identifier is for cluster {found}. Your cluster is {expected}")]
    OtherCluster { found: String, expected: String },
    #[error("Invalid identifier: Identifier is for region {found}. Your region is {expected}")]
    OtherRegion { found: String, expected: String },
    #[error("Invalid identifier: Identifier is for account {found}. Your account is {expected}")]
    OtherAccount { found: String, expected: String },
    #[error("Unsupported resource type: {0}")]
    Kind(String),
    #[error("Unexpected number of separators")]
    Separators,
    /// An ARN of the old form, which lacks the cluster.
    #[error("Long arn format must be used for tagging operations")]
    Short,
    #[error("{kind}Id length should be one of [32,36]")]
    Length { kind: &'static str },
    #[error("Invalid identifier: {0} is not an ARN of Amazon ECS")]
    Arn(String),
    #[error("{kind} must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {found}")]
    Name { kind: &'static str, found: String },
}

/// Whether `text` can be the name of a cluster, service or capacity provider: 1 to 255 letters,
/// digits, `-` and `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(legal)
}

/// The text as an error repeats it: not longer than a name.
fn shown(text: &str) -> String {
    text.chars().take(MAX_NAME_CHARS).collect()
}

/// A resource by its ARN: its account and region, its kind, and the parts after the kind.
struct Named<'a> {
    home: AccountRegion,
    kind: &'a str,
    parts: Vec<&'a str>,
}

/// An ARN of ECS in the region of `home`, of whatever account.
fn named<'a>(arn: &'a Arn, home: &AccountRegion) -> Result<Named<'a>, IdentifierError> {
    let foreign = || IdentifierError::Arn(shown(arn.as_str()));
    if arn.service() != "ecs" || arn.partition() != home.region.partition() {
        return Err(foreign());
    }
    if arn.region() != home.region.as_str() {
        return Err(IdentifierError::OtherRegion {
            found: shown(arn.region()),
            expected: home.region.as_str().to_owned(),
        });
    }
    let mut parts = arn.resource().split('/');
    Ok(Named {
        home: AccountRegion {
            account: arn.account_id().ok_or_else(foreign)?,
            region: home.region.clone(),
        },
        kind: parts.next().unwrap_or_default(),
        parts: parts.collect(),
    })
}

fn arn(text: &str) -> Result<Option<Arn>, IdentifierError> {
    if !text.starts_with("arn:") {
        return Ok(None);
    }
    let arn = text.parse();
    arn.map(Some).map_err(|_| IdentifierError::Arn(shown(text)))
}

/// The cluster that a member names: by its name or ARN, or the default one.
///
/// # Errors
/// A text that names no cluster of the account and region.
pub fn cluster_name(
    home: &AccountRegion,
    text: Option<&str>,
) -> Result<ClusterName, IdentifierError> {
    let name = cluster_name_of_any_account(home, text)?;
    if name.home.account == home.account {
        return Ok(name);
    }
    Err(IdentifierError::OtherAccount {
        found: name.home.account.as_str().to_owned(),
        expected: home.account.as_str().to_owned(),
    })
}

/// The same for requests whose permission is decided on this cluster itself: the account of an ARN
/// may be another one.
///
/// # Errors
/// A text that names no cluster of the region.
pub fn cluster_name_of_any_account(
    home: &AccountRegion,
    text: Option<&str>,
) -> Result<ClusterName, IdentifierError> {
    let text = text.unwrap_or(DEFAULT_CLUSTER);
    let (home, name) = match arn(text)? {
        None => (home.clone(), text.to_owned()),
        Some(arn) => {
            let Named { home, kind, parts } = named(&arn, home)?;
            match (kind, &parts[..]) {
                ("cluster", [name]) => (home, (*name).to_owned()),
                ("cluster", _) => return Err(IdentifierError::Separators),
                _ => return Err(IdentifierError::Kind(shown(kind))),
            }
        }
    };
    if is_name(&name) {
        Ok(ClusterName { home, name })
    } else {
        Err(IdentifierError::Name {
            kind: "Cluster",
            found: shown(&name),
        })
    }
}

/// The container instance of the cluster that a member names: by its identifier or ARN.
///
/// # Errors
/// A text that names no instance of this cluster.
pub fn instance_id(cluster: &ClusterName, text: &str) -> Result<InstanceId, IdentifierError> {
    let id = member(cluster, "container-instance", text)?;
    checked_id("instance", id).map(InstanceId)
}

/// The task of the cluster that a member names: by its identifier or ARN.
///
/// # Errors
/// A text that names no task of this cluster.
pub fn task_id(cluster: &ClusterName, text: &str) -> Result<TaskId, IdentifierError> {
    checked_id("task", member(cluster, "task", text)?).map(TaskId)
}

/// The service of the cluster that a member names: by its name or ARN.
///
/// # Errors
/// A text that names no service of this cluster.
pub fn service_name(cluster: &ClusterName, text: &str) -> Result<String, IdentifierError> {
    let name = member(cluster, "service", text)?;
    if is_name(&name) {
        return Ok(name);
    }
    Err(IdentifierError::Name {
        kind: "Service",
        found: shown(&name),
    })
}

/// The capacity provider that a member names: by its name or ARN.
///
/// # Errors
/// A text that names no capacity provider of the account and region.
pub fn capacity_provider_name(home: &AccountRegion, text: &str) -> Result<String, IdentifierError> {
    let name = match arn(text)? {
        None => text.to_owned(),
        Some(arn) => {
            let found = named(&arn, home)?;
            match (found.kind, &found.parts[..]) {
                ("capacity-provider", [name]) if found.home == *home => (*name).to_owned(),
                ("capacity-provider", [_]) => {
                    return Err(IdentifierError::Arn(shown(arn.as_str())));
                }
                ("capacity-provider", _) => return Err(IdentifierError::Separators),
                (kind, _) => return Err(IdentifierError::Kind(shown(kind))),
            }
        }
    };
    if is_name(&name) {
        return Ok(name);
    }
    Err(IdentifierError::Name {
        kind: "Capacity provider",
        found: shown(&name),
    })
}

/// The last part of the ARN of something in a cluster, or `text` itself. An ARN of the old form
/// lacks the cluster.
fn member(cluster: &ClusterName, kind: &str, text: &str) -> Result<String, IdentifierError> {
    let Some(arn) = arn(text)? else {
        return Ok(text.to_owned());
    };
    let found = named(&arn, &cluster.home)?;
    if found.kind != kind {
        return Err(IdentifierError::Kind(shown(found.kind)));
    }
    if found.home != cluster.home {
        return Err(IdentifierError::Arn(shown(text)));
    }
    match found.parts[..] {
        [name] => Ok(name.to_owned()),
        [of, name] if of == cluster.name => Ok(name.to_owned()),
        [of, _] => Err(IdentifierError::OtherCluster {
            found: shown(of),
            expected: cluster.name.clone(),
        }),
        _ => Err(IdentifierError::Separators),
    }
}

/// An identifier has 32 hexadecimal digits; old ones have 36 characters.
fn checked_id(kind: &'static str, id: String) -> Result<String, IdentifierError> {
    let legal = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if legal && [32, 36].contains(&id.len()) {
        Ok(id)
    } else {
        Err(IdentifierError::Length { kind })
    }
}

/// Which resource an ARN names, for the operations that take any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedResource {
    Cluster(ClusterName),
    Instance(ClusterName, InstanceId),
    Task(ClusterName, TaskId),
    Service(ClusterName, String),
    TaskDefinition {
        home: AccountRegion,
        family: String,
        revision: i64,
    },
    CapacityProvider(AccountRegion, String),
}

impl NamedResource {
    pub fn arn(&self) -> Arn {
        match self {
            Self::Cluster(name) => name.arn(),
            Self::Instance(cluster, id) => cluster.instance_arn(id),
            Self::Task(cluster, id) => cluster.task_arn(id),
            Self::Service(cluster, name) => cluster.service_arn(name),
            Self::TaskDefinition {
                home,
                family,
                revision,
            } => home.arn(&format!("task-definition/{family}:{revision}")),
            Self::CapacityProvider(home, name) => home.arn(&format!("capacity-provider/{name}")),
        }
    }

    /// The account and region of the resource.
    pub const fn home(&self) -> &AccountRegion {
        match self {
            Self::Cluster(name)
            | Self::Instance(name, _)
            | Self::Task(name, _)
            | Self::Service(name, _) => &name.home,
            Self::TaskDefinition { home, .. } | Self::CapacityProvider(home, _) => home,
        }
    }
}

/// The resource that an ARN names.
///
/// # Errors
/// A text that names no resource of ECS in the region which can have tags.
pub fn resource(home: &AccountRegion, text: &str) -> Result<NamedResource, IdentifierError> {
    let Some(arn) = arn(text)? else {
        return Err(IdentifierError::Arn(shown(text)));
    };
    let Named { home, kind, parts } = named(&arn, home)?;
    let in_cluster = |name: &str| {
        let cluster = cluster_name(&home, Some(name))?;
        Ok::<_, IdentifierError>(cluster)
    };
    Ok(match (kind, &parts[..]) {
        ("cluster", [name]) => NamedResource::Cluster(in_cluster(name)?),
        ("container-instance", [cluster, id]) => {
            let id = checked_id("instance", (*id).to_owned())?;
            NamedResource::Instance(in_cluster(cluster)?, InstanceId(id))
        }
        ("task", [cluster, id]) => {
            let id = checked_id("task", (*id).to_owned())?;
            NamedResource::Task(in_cluster(cluster)?, TaskId(id))
        }
        ("service", [cluster, name]) => {
            let cluster = in_cluster(cluster)?;
            let name = service_name(&cluster, name)?;
            NamedResource::Service(cluster, name)
        }
        ("task-definition", [name]) => {
            let (family, revision) = name.split_once(':').ok_or(IdentifierError::Separators)?;
            let revision = revision.parse().map_err(|_| IdentifierError::Separators)?;
            let family = family.to_owned();
            NamedResource::TaskDefinition {
                home,
                family,
                revision,
            }
        }
        ("capacity-provider", [name]) => {
            let name = capacity_provider_name(&home, name)?;
            NamedResource::CapacityProvider(home, name)
        }
        ("container-instance" | "task" | "service", [_]) => return Err(IdentifierError::Short),
        (
            "cluster" | "container-instance" | "task" | "service" | "task-definition"
            | "capacity-provider",
            _,
        ) => return Err(IdentifierError::Separators),
        (kind, _) => return Err(IdentifierError::Kind(shown(kind))),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::home;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn cluster() -> ClusterName {
        cluster_name(&home(), Some("web")).expect("a name")
    }

    #[test]
    fn a_cluster_by_name_or_arn() {
        let name = |text| cluster_name(&home(), text).map_err(|error| error.to_string());
        for (text, expected) in [
            (None, "default"),
            (Some("a-B_9"), "a-B_9"),
            (Some("arn:aws:ecs:us-east-1:123456789012:cluster/c"), "c"),
        ] {
            assert_eq!(name(text).expect("a name").name, expected);
        }
        let other = "arn:aws:ecs:us-east-1:999999999999:cluster/c";
        let decided = cluster_name_of_any_account(&home(), Some(other)).expect("a name");
        assert_eq!(decided.home.account.as_str(), "999999999999");
        for (text, message) in [
            ("", "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was "),
            (
                "a b",
                "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b",
            ),
            (
                "arn:aws:ecs:us-east-1:123456789012:task/c",
                "Unsupported resource type: task",
            ),
            (
                "arn:aws:ecs:us-east-1:123456789012:cluster/a/b",
                "Unexpected number of separators",
            ),
            (
                "arn:aws:ecs:eu-west-1:123456789012:cluster/a",
                "Invalid identifier: Identifier is for region eu-west-1. Your region is us-east-1",
            ),
            (
                other,
                "Invalid identifier: Identifier is for account 999999999999. Your account is \
                 123456789012",
            ),
            (
                "arn:aws:ecr:us-east-1:123456789012:cluster/a",
                "Invalid identifier: arn:aws:ecr:us-east-1:123456789012:cluster/a is not an ARN \
                 of Amazon ECS",
            ),
        ] {
            assert_eq!(name(Some(text)).expect_err("no cluster"), message);
        }
        let long = "x".repeat(256);
        assert!(name(Some(&long[1..])).is_ok());
        assert!(name(Some(&long)).is_err());
    }

    #[test]
    fn what_is_in_a_cluster() {
        let of = |resource: &str| format!("arn:aws:ecs:us-east-1:123456789012:{resource}");
        let task = |text: &str| task_id(&cluster(), text).map_err(|error| error.to_string());
        let expected = Ok(TaskId(ID.to_owned()));
        assert_eq!(task(ID), expected);
        assert_eq!(task(&of(&format!("task/web/{ID}"))), expected);
        assert_eq!(task(&of(&format!("task/{ID}"))), expected);
        for (text, message) in [
            ("None".to_owned(), "taskId length should be one of [32,36]"),
            (
                of(&format!("task/api/{ID}")),
                "Invalid identifier: Identifier is for cluster api. Your cluster is web",
            ),
            (of("cluster/web"), "Unsupported resource type: cluster"),
            (of("task/a/b/c"), "Unexpected number of separators"),
        ] {
            assert_eq!(task(&text).expect_err("no task"), message);
        }
        assert_eq!(
            instance_id(&cluster(), "i-1")
                .expect_err("no instance")
                .to_string(),
            "instanceId length should be one of [32,36]"
        );
        let service = |text: &str| service_name(&cluster(), text);
        assert_eq!(service(&of("service/web/api")).as_deref(), Ok("api"));
        assert_eq!(service(&of("service/api")).as_deref(), Ok("api"));
        assert!(service("a/b").is_err());
    }

    #[test]
    fn resources_of_any_kind() {
        let of = |name: &str| {
            let arn = format!("arn:aws:ecs:us-east-1:123456789012:{name}");
            resource(&home(), &arn)
        };
        assert_eq!(of("cluster/web"), Ok(NamedResource::Cluster(cluster())));
        assert_eq!(
            of("service/web/api"),
            Ok(NamedResource::Service(cluster(), "api".to_owned()))
        );
        assert_eq!(
            of("task-definition/f:3"),
            Ok(NamedResource::TaskDefinition {
                home: home(),
                family: "f".to_owned(),
                revision: 3
            })
        );
        assert_eq!(
            of("capacity-provider/c"),
            Ok(NamedResource::CapacityProvider(home(), "c".to_owned()))
        );
        for (name, expected) in [
            ("service/api", IdentifierError::Short),
            ("task-definition/f", IdentifierError::Separators),
            ("thing/x", IdentifierError::Kind("thing".to_owned())),
        ] {
            assert_eq!(of(name), Err(expected));
        }
        assert!(resource(&home(), "web").is_err());
    }

    proptest! {
        /// What an ARN of ours names is what its parts were.
        #[test]
        fn arns_are_read_as_they_are_written(name in "[a-zA-Z0-9_-]{1,40}", id in "[0-9a-f]{32}") {
            let cluster = cluster_name(&home(), Some(&name)).expect("a name");
            let arn = cluster.arn();
            let read = cluster_name(&home(), Some(arn.as_str()));
            prop_assert_eq!(read.as_ref(), Ok(&cluster));
            let id = InstanceId(id);
            let arn = cluster.instance_arn(&id);
            prop_assert_eq!(instance_id(&cluster, arn.as_str()), Ok(id.clone()));
            let named = resource(&home(), arn.as_str());
            prop_assert_eq!(named, Ok(NamedResource::Instance(cluster, id)));
        }

        /// No text makes it panic.
        #[test]
        fn any_text_is_read(text in "(arn:aws:ecs:us-east-1:123456789012:)?\\PC{0,40}") {
            let _ = cluster_name(&home(), Some(&text));
            let _ = task_id(&cluster(), &text);
            let _ = resource(&home(), &text);
        }
    }
}
