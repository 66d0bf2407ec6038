//! Parameters as policies see them.

use wharfinger_api_core::RequestScope;
use wharfinger_secrets::{ParameterRef, Parameters, SecretsHome, Selector};

use crate::parameter_store::Result;
use crate::views::{StoredResource, home};

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterId {
    /// All parameters, for actions that policies allow on `*` only.
    All(SecretsHome),
    Parameter(ParameterRef),
}

impl ParameterId {
    /// The parameter that a request names, of whatever version.
    pub(super) fn parameter(scope: &RequestScope, text: &str) -> Result<Self> {
        let mut reference = ParameterRef::parse(&home(scope), text)?;
        reference.selector = Selector::Newest;
        Ok(Self::Parameter(reference))
    }

    /// A parameter or a path by its plain name.
    pub(super) fn named(scope: &RequestScope, name: &str) -> Self {
        Self::Parameter(ParameterRef::named(&home(scope), name))
    }

    pub(super) async fn load(&self, parameters: &Parameters) -> Result<StoredResource> {
        Ok(match self {
            Self::All(home) => StoredResource::of(home, None, None),
            Self::Parameter(reference) => {
                let tags = parameters.tags(reference).await?;
                StoredResource::of(&reference.home, Some(reference.arn()), tags)
            }
        })
    }
}
