//! OIDC identity providers.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::Arn;
use wharfinger_iam::NewOidcProvider;

use crate::iam::resource::IamResourceId;
use crate::iam::views::{TagView, checked_tags, date};
use crate::iam::{IamService, Result, error};

/// The kind of a provider in ARNs.
pub(super) const OIDC_PROVIDER: &str = "oidc-provider";

/// A provider by its ARN.
#[derive(Debug, Deserialize)]
pub(super) struct ProviderByArn {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
}

impl ProviderByArn {
    /// The resource of this ARN.
    ///
    /// # Errors
    /// `ValidationError` for an ARN of anything else.
    pub(super) fn id(&self) -> Result<IamResourceId> {
        let is_provider = |arn: &Arn| {
            let kind = arn.resource().split_once('/').map(|(kind, _)| kind);
            arn.service() == "iam" && kind == Some(OIDC_PROVIDER) && arn.account_id().is_some()
        };
        let arn = self.arn.parse::<Arn>().ok().filter(is_provider);
        let invalid = || error::validation(format!("Invalid ARN: {}", self.arn));
        arn.map(IamResourceId::OidcProvider).ok_or_else(invalid)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateOpenIDConnectProvider {
    url: String,
    #[serde(rename = "ClientIDList")]
    client_ids: Option<Vec<String>>,
    thumbprint_list: Option<Vec<String>>,
    tags: Option<Vec<TagView>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateOpenIDConnectProviderOutput {
    #[serde(rename = "OpenIDConnectProviderArn")]
    arn: String,
    tags: Vec<TagView>,
}

impl Operation for CreateOpenIDConnectProvider {
    type Service = IamService;
    type Output = CreateOpenIDConnectProviderOutput;

    const NAME: &'static str = "CreateOpenIDConnectProvider";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let (_, name) = self.url.split_once("://").unwrap_or(("", &self.url));
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: OIDC_PROVIDER,
            path: "/".to_owned(),
            name: name.to_owned(),
        })
    }

    /// Tags need a permission of their own besides.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let tags = self.tags.iter().flatten().map(TagView::pair);
        let tags: Vec<_> = tags.collect();
        let provider = self.resource(scope)?;
        let demand = |action| Demand::new(action, provider.clone()).with_tags(tags.clone());
        let mut demands = vec![demand(Self::ACTION)];
        if !tags.is_empty() {
            demands.push(demand("TagOpenIDConnectProvider"));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<CreateOpenIDConnectProviderOutput> {
        let providers = cx.state().iam.oidc_providers();
        let new = NewOidcProvider {
            url: self.url,
            client_ids: self.client_ids.unwrap_or_default(),
            thumbprints: self.thumbprint_list.unwrap_or_default(),
            tags: checked_tags(&self.tags.unwrap_or_default())?,
        };
        let made = providers.create(cx.scope().account, new).await?;
        Ok(CreateOpenIDConnectProviderOutput {
            arn: made.arn.to_string(),
            tags: made.tags.into_iter().map(TagView::from_pair).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetOpenIDConnectProvider {
    #[serde(flatten)]
    provider: ProviderByArn,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetOpenIDConnectProviderOutput {
    /// Without its scheme.
    url: String,
    #[serde(rename = "ClientIDList")]
    client_ids: Vec<String>,
    thumbprint_list: Vec<String>,
    create_date: String,
    tags: Vec<TagView>,
}

impl Operation for GetOpenIDConnectProvider {
    type Service = IamService;
    type Output = GetOpenIDConnectProviderOutput;

    const NAME: &'static str = "GetOpenIDConnectProvider";

    fn resource(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.provider.id()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetOpenIDConnectProviderOutput> {
        let provider = cx.resource().oidc_provider()?.clone();
        let (_, url) = provider.url.split_once("://").unwrap_or_default();
        Ok(GetOpenIDConnectProviderOutput {
            url: url.to_owned(),
            client_ids: provider.client_ids,
            thumbprint_list: provider.thumbprints,
            create_date: date(provider.created_at),
            tags: provider.tags.into_iter().map(TagView::from_pair).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ListOpenIDConnectProviders {}

#[derive(Debug, Serialize)]
pub(super) struct ListOpenIDConnectProvidersOutput {
    #[serde(rename = "OpenIDConnectProviderList")]
    providers: Vec<ProviderEntry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderEntry {
    arn: String,
}

impl Operation for ListOpenIDConnectProviders {
    type Service = IamService;
    type Output = ListOpenIDConnectProvidersOutput;

    const NAME: &'static str = "ListOpenIDConnectProviders";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: OIDC_PROVIDER,
            path: "/".to_owned(),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListOpenIDConnectProvidersOutput> {
        let providers = cx.state().iam.oidc_providers();
        let arns = providers.list(cx.scope().account).await?.into_iter();
        let entry = |arn: Arn| ProviderEntry {
            arn: arn.to_string(),
        };
        Ok(ListOpenIDConnectProvidersOutput {
            providers: arns.map(entry).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteOpenIDConnectProvider {
    #[serde(flatten)]
    provider: ProviderByArn,
}

impl Operation for DeleteOpenIDConnectProvider {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteOpenIDConnectProvider";

    fn resource(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.provider.id()
    }

    /// A provider that does not exist is no error (IAM API reference).
    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let providers = cx.state().iam.oidc_providers();
        let (account, arn) = cx.resource().place();
        Ok(providers.delete(account, arn).await?)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct AddClientIDToOpenIDConnectProvider {
    #[serde(flatten)]
    provider: ProviderByArn,
    #[serde(rename = "ClientID")]
    client_id: String,
}

impl Operation for AddClientIDToOpenIDConnectProvider {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "AddClientIDToOpenIDConnectProvider";

    fn resource(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.provider.id()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let providers = cx.state().iam.oidc_providers();
        let (account, arn) = cx.resource().place();
        Ok(providers
            .add_client_id(account, arn, self.client_id)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RemoveClientIDFromOpenIDConnectProvider {
    #[serde(flatten)]
    provider: ProviderByArn,
    #[serde(rename = "ClientID")]
    client_id: String,
}

impl Operation for RemoveClientIDFromOpenIDConnectProvider {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "RemoveClientIDFromOpenIDConnectProvider";

    fn resource(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.provider.id()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let providers = cx.state().iam.oidc_providers();
        let (account, arn) = cx.resource().place();
        let removed = providers.remove_client_id(account, arn, self.client_id);
        Ok(removed.await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateOpenIDConnectProviderThumbprint {
    #[serde(flatten)]
    provider: ProviderByArn,
    thumbprint_list: Vec<String>,
}

impl Operation for UpdateOpenIDConnectProviderThumbprint {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UpdateOpenIDConnectProviderThumbprint";

    fn resource(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.provider.id()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let providers = cx.state().iam.oidc_providers();
        let (account, arn) = cx.resource().place();
        let set = providers.set_thumbprints(account, arn, self.thumbprint_list);
        Ok(set.await?)
    }
}
