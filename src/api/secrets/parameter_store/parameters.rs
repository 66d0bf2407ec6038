//! Parameters: written, read and deleted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_base::Secret;
use wharfinger_secrets::{
    Error as DomainError, NewParameter, Parameter, ParameterRef, ParameterType, Selector,
};

use crate::parameter_store::tags::{Tag, map};
use crate::parameter_store::{ParameterId, ParameterStore, Result, error};
use crate::views::{Seconds, home};

/// The data types that need no other service. Source: `PutParameter`, `DataType`.
const DATA_TYPES: &[&str] = &["text"];

/// `Parameter` of the service model.
#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ParameterView {
    name: String,
    #[serde(rename = "Type")]
    kind: ParameterType,
    value: String,
    version: i64,
    selector: Option<String>,
    last_modified_date: Seconds,
    #[serde(rename = "ARN")]
    arn: String,
    data_type: String,
}

/// The value as a response has it: a secure string is shown sealed unless its value is requested.
pub(super) fn shown_value(parameter: &Parameter, decrypted: bool) -> String {
    if parameter.kind == ParameterType::SecureString && !decrypted {
        STANDARD.encode(&parameter.sealed)
    } else {
        parameter.value.reveal().clone()
    }
}

impl ParameterView {
    pub(super) fn of(parameter: &Parameter, selector: &Selector, decrypted: bool) -> Self {
        Self {
            name: parameter.name.clone(),
            kind: parameter.kind,
            value: shown_value(parameter, decrypted),
            version: parameter.version,
            selector: match selector {
                Selector::Newest => None,
                Selector::Version(version) => Some(format!(":{version}")),
                Selector::Label(label) => Some(format!(":{label}")),
            },
            last_modified_date: parameter.modified_at.into(),
            arn: parameter.arn().to_string(),
            data_type: parameter.details.data_type.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutParameter {
    name: String,
    description: Option<String>,
    value: String,
    #[serde(rename = "Type")]
    kind: Option<ParameterType>,
    key_id: Option<String>,
    overwrite: Option<bool>,
    allowed_pattern: Option<String>,
    tags: Option<Vec<Tag>>,
    tier: Option<String>,
    policies: Option<String>,
    data_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutParameterOutput {
    version: i64,
    tier: String,
}

impl Operation for PutParameter {
    type Service = ParameterStore;
    type Output = PutParameterOutput;

    const NAME: &'static str = "PutParameter";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.name))
    }

    /// Tags at creation need the permission to set tags.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<ParameterStore>>> {
        let id = self.resource(scope)?;
        let tags: Vec<_> = map(self.tags.as_deref())?.into_iter().collect();
        let own = Demand::new(Self::ACTION, id.clone()).with_tags(tags.clone());
        if tags.is_empty() {
            return Ok(vec![own]);
        }
        Ok(vec![
            own,
            Demand::new("AddTagsToResource", id).with_tags(tags),
        ])
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<PutParameterOutput> {
        if self
            .policies
            .is_some_and(|policies| policies.trim() != "[]")
        {
            return Err(error::invalid("This server has no parameter policies."));
        }
        if self
            .data_type
            .as_deref()
            .is_some_and(|kind| !DATA_TYPES.contains(&kind))
        {
            return Err(error::invalid(
                "This server has parameters of the data type text.",
            ));
        }
        let new = NewParameter {
            name: self.name,
            value: Secret::new(self.value),
            kind: self.kind,
            description: self.description,
            key_id: self.key_id,
            allowed_pattern: self.allowed_pattern,
            tier: self.tier,
            data_type: self.data_type,
            tags: map(self.tags.as_deref())?,
            overwrite: self.overwrite == Some(true),
            modified_by: cx.caller().arn().to_string(),
        };
        let (version, tier) = cx.state().parameters.put(&home(cx.scope()), new).await?;
        Ok(PutParameterOutput { version, tier })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameter {
    name: String,
    with_decryption: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameterOutput {
    parameter: ParameterView,
}

impl Operation for GetParameter {
    type Service = ParameterStore;
    type Output = GetParameterOutput;

    const NAME: &'static str = "GetParameter";
    /// Who reads a secret is worth a record.
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        ParameterId::parameter(scope, &self.name)
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<GetParameterOutput> {
        let reference = ParameterRef::parse(&home(cx.scope()), &self.name)?;
        let found = cx.state().parameters.get(&reference).await?;
        let decrypted = self.with_decryption == Some(true);
        Ok(GetParameterOutput {
            parameter: ParameterView::of(&found, &reference.selector, decrypted),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameters {
    names: Vec<String>,
    with_decryption: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParametersOutput {
    parameters: Vec<ParameterView>,
    invalid_parameters: Vec<String>,
}

/// The permission for each of the parameters that a request names.
fn demand_each(
    action: &str,
    names: &[String],
    scope: &RequestScope,
) -> Result<Vec<Demand<ParameterStore>>> {
    let demand = |name: &String| Ok(Demand::new(action, ParameterId::parameter(scope, name)?));
    names.iter().map(demand).collect()
}

impl Operation for GetParameters {
    type Service = ParameterStore;
    type Output = GetParametersOutput;

    const NAME: &'static str = "GetParameters";
    /// Who reads a secret is worth a record.
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::All(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<ParameterStore>>> {
        demand_each(Self::ACTION, &self.names, scope)
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<GetParametersOutput> {
        let decrypted = self.with_decryption == Some(true);
        let (mut parameters, mut invalid_parameters) = (Vec::new(), Vec::new());
        for name in self.names {
            let reference = ParameterRef::parse(&home(cx.scope()), &name)?;
            match cx.state().parameters.get(&reference).await {
                Ok(found) => {
                    parameters.push(ParameterView::of(&found, &reference.selector, decrypted));
                }
                Err(
                    DomainError::NoSuchParameter(_) | DomainError::NoSuchParameterVersion { .. },
                ) => {
                    invalid_parameters.push(name);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(GetParametersOutput {
            parameters,
            invalid_parameters,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteParameter {
    name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct DeleteParameterOutput {}

impl Operation for DeleteParameter {
    type Service = ParameterStore;
    type Output = DeleteParameterOutput;

    const NAME: &'static str = "DeleteParameter";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.name))
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<DeleteParameterOutput> {
        let names = vec![self.name.clone()];
        let deleted = cx
            .state()
            .parameters
            .delete(&home(cx.scope()), names)
            .await?;
        if deleted.is_empty() {
            return Err(DomainError::NoSuchParameter(self.name).into());
        }
        Ok(DeleteParameterOutput {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteParameters {
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteParametersOutput {
    deleted_parameters: Vec<String>,
    invalid_parameters: Vec<String>,
}

impl Operation for DeleteParameters {
    type Service = ParameterStore;
    type Output = DeleteParametersOutput;

    const NAME: &'static str = "DeleteParameters";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::All(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<ParameterStore>>> {
        let named = self
            .names
            .iter()
            .map(|name| ParameterId::named(scope, name));
        Ok(named.map(|id| Demand::new(Self::ACTION, id)).collect())
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<DeleteParametersOutput> {
        let parameters = &cx.state().parameters;
        let deleted = parameters
            .delete(&home(cx.scope()), self.names.clone())
            .await?;
        let invalid = self
            .names
            .into_iter()
            .filter(|name| !deleted.contains(name));
        Ok(DeleteParametersOutput {
            invalid_parameters: invalid.collect(),
            deleted_parameters: deleted,
        })
    }
}
