//! Why a task definition is refused.

/// A rule that a task definition breaks, in the words of ECS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidTaskDefinition(String);

/// What a check returns.
pub(super) type Checked<T = ()> = Result<T, InvalidTaskDefinition>;

pub(super) fn refuse(message: impl Into<String>) -> InvalidTaskDefinition {
    InvalidTaskDefinition(message.into())
}

/// A setting of a container that has no possible meaning.
pub(super) fn invalid_setting(setting: &str, container: &str) -> InvalidTaskDefinition {
    refuse(format!(
        "Invalid '{setting}' setting for container '{container}'."
    ))
}

/// A setting of a container that breaks the rule that `reason` states.
pub(super) fn invalid_container(container: &str, reason: &str) -> InvalidTaskDefinition {
    refuse(format!(
        "Invalid setting for container '{container}'. {reason}"
    ))
}
