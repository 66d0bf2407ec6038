//! What can be wrong with a policy document, a credential or the store of both; HTTP-free.

/// Why a text is no policy of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is longer than {limit} characters")]
    TooLong { limit: usize },
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    #[error("{element} is missing")]
    Missing { element: &'static str },
    /// An element unknown to the policy language, or one that this kind of policy does not take.
    #[error("{element} is not allowed here")]
    NotAllowed { element: String },
    #[error("{element} has a value that it cannot have: {value}")]
    Value { element: &'static str, value: String },
    #[error("the Sid {0} stands twice")]
    DuplicateSid(String),
}

impl PolicyError {
    /// A [`PolicyError::Value`] that shows at most 64 characters of what was found.
    pub(super) fn value(element: &'static str, found: &str) -> Self {
        let mut value: String = found.chars().take(64).collect();
        if value.len() < found.len() {
            value.push('…');
        }
        Self::Value { element, value }
    }
}
