//! Lists of secrets and of their versions.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::{PageToken, Timestamp};
use wharfinger_secrets::StoredSecret;

use crate::secrets_manager::secrets::SecretView;
use crate::secrets_manager::{Result, SecretId, SecretsManager, error};
use crate::views::{Seconds, home};

/// Items of a page where the request does not say.
const DEFAULT_ITEMS: usize = 100;
/// Pages of rows that one request reads in search of secrets that its filters let through.
const MAX_SCANS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum FilterKey {
    #[serde(rename = "description")]
    Description,
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "tag-key")]
    TagKey,
    #[serde(rename = "tag-value")]
    TagValue,
    #[serde(rename = "primary-region")]
    PrimaryRegion,
    #[serde(rename = "owning-service")]
    OwningService,
    #[serde(rename = "all")]
    All,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: Option<FilterKey>,
    values: Option<Vec<String>>,
}

impl Filter {
    /// Whether one of the values fits; one that starts with `!` excludes.
    fn admits(&self, secret: &StoredSecret) -> bool {
        let values = self.values.as_deref().unwrap_or_default();
        let (excluded, included): (Vec<_>, Vec<_>) =
            values.iter().partition(|value| value.starts_with('!'));
        let fits = |value: &str| {
            self.texts(secret)
                .iter()
                .any(|text| self.matches(text, value))
        };
        !excluded.iter().any(|value| fits(&value[1..]))
            && (included.is_empty() || included.iter().any(|value| fits(value)))
    }

    fn texts<'a>(&self, secret: &'a StoredSecret) -> Vec<&'a str> {
        let tags = &secret.details.tags;
        let description = secret.details.description.as_deref();
        match self.key.unwrap_or(FilterKey::All) {
            FilterKey::Description => description.into_iter().collect(),
            FilterKey::Name => vec![&secret.name],
            FilterKey::TagKey => tags.keys().map(String::as_str).collect(),
            FilterKey::TagValue => tags.values().map(String::as_str).collect(),
            // Secrets here have neither a primary region nor an owning service.
            FilterKey::PrimaryRegion | FilterKey::OwningService => Vec::new(),
            FilterKey::All => {
                let mut all = vec![secret.name.as_str()];
                all.extend(description);
                all.extend(
                    tags.iter()
                        .flat_map(|(key, value)| [key.as_str(), value.as_str()]),
                );
                all
            }
        }
    }

    /// Values are prefixes; those of descriptions and of everything ignore case.
    fn matches(&self, text: &str, value: &str) -> bool {
        match self.key {
            Some(FilterKey::Description | FilterKey::All) | None => {
                let words = text.split_whitespace().chain([text]);
                let value = value.to_lowercase();
                words
                    .into_iter()
                    .any(|word| word.to_lowercase().starts_with(&value))
            }
            _ => text.starts_with(value),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecrets {
    include_planned_deletion: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
    filters: Option<Vec<Filter>>,
    sort_order: Option<String>,
    sort_by: Option<String>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecretsOutput {
    secret_list: Vec<SecretView>,
    next_token: Option<String>,
}

impl Operation for ListSecrets {
    type Service = SecretsManager;
    type Output = ListSecretsOutput;

    const NAME: &'static str = "ListSecrets";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        Ok(SecretId::All(home(scope)))
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<ListSecretsOutput> {
        if self.sort_by.is_some_and(|by| by != "created-date") {
            return Err(error::invalid_parameter(
                "This server lists secrets by created-date.",
            ));
        }
        let descending = self.sort_order.is_some_and(|order| order == "desc");
        let limit = self.max_results.unwrap_or(DEFAULT_ITEMS);
        let mut after = match &self.next_token {
            Some(token) => Some(position(token).ok_or_else(error::bad_token)?),
            None => None,
        };
        let (home, secrets) = (home(cx.scope()), &cx.state().secrets);
        let planned = self.include_planned_deletion == Some(true);
        let filters = self.filters.unwrap_or_default();
        let shown = |secret: &StoredSecret| {
            let ends = secret.deleted_at.is_some() && !planned;
            !ends && filters.iter().all(|filter| filter.admits(secret))
        };
        let mut list = Vec::new();
        for _ in 0..MAX_SCANS {
            let page = secrets
                .page(&home, after, descending, limit - list.len())
                .await?;
            for secret in page.items.into_iter().filter(shown) {
                let versions = secrets.versions(&secret).await?;
                list.push(SecretView::of(secret).listed(versions));
            }
            after = page.next;
            if list.len() == limit || after.is_none() {
                break;
            }
        }
        Ok(ListSecretsOutput {
            secret_list: list,
            next_token: after.map(|(time, name)| {
                PageToken::encode(Self::NAME, &[&time.as_ms().to_string(), &name])
            }),
        })
    }
}

/// The position that a token encodes.
fn position(token: &str) -> Option<(Timestamp, String)> {
    let parts = PageToken::decode(ListSecrets::NAME, token)?;
    let [time, name] = <[String; 2]>::try_from(parts).ok()?;
    Some((Timestamp::from_ms(time.parse().ok()?), name))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecretVersionIds {
    secret_id: String,
    max_results: Option<usize>,
    next_token: Option<String>,
    include_deprecated: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionView {
    version_id: String,
    version_stages: Vec<String>,
    created_date: Seconds,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListSecretVersionIdsOutput {
    versions: Vec<VersionView>,
    next_token: Option<String>,
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
}

impl Operation for ListSecretVersionIds {
    type Service = SecretsManager;
    type Output = ListSecretVersionIdsOutput;

    const NAME: &'static str = "ListSecretVersionIds";

    fn resource(&self, scope: &RequestScope) -> Result<SecretId> {
        SecretId::secret(scope, &self.secret_id)
    }

    async fn run(self, cx: &Context<SecretsManager>) -> Result<ListSecretVersionIdsOutput> {
        let secrets = &cx.state().secrets;
        let secret = cx.resource().secret()?;
        let arn = secret.arn().to_string();
        let after = match &self.next_token {
            None => String::new(),
            Some(token) => {
                let parts = PageToken::decode(Self::NAME, token);
                let parts = parts.and_then(|parts| <[String; 2]>::try_from(parts).ok());
                match parts {
                    Some([of, after]) if of == arn => after,
                    _ => return Err(error::bad_token()),
                }
            }
        };
        let deprecated = self.include_deprecated == Some(true);
        let limit = self.max_results.unwrap_or(DEFAULT_ITEMS);
        // A secret has few versions, sorted by their identifiers.
        let versions = secrets.versions(secret).await?.into_iter();
        let versions = versions
            .filter(|version| version.id > after && (deprecated || !version.stages.is_empty()));
        let rows = versions.take(limit + 1).collect();
        let page = wharfinger_base::Page::of(rows, limit, |version| version.id.clone());
        let versions = page.items.into_iter().map(|version| VersionView {
            version_id: version.id,
            version_stages: version.stages,
            created_date: version.created_at.into(),
        });
        Ok(ListSecretVersionIdsOutput {
            versions: versions.collect(),
            next_token: page
                .next
                .map(|last| PageToken::encode(Self::NAME, &[&arn, &last])),
            arn,
            name: secret.name.clone(),
        })
    }
}
