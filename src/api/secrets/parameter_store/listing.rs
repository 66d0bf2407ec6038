//! Lists of parameters and of their versions.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::PageToken;
use wharfinger_secrets::{Parameter, ParameterRef, ParameterType, Selector, is_below};

use crate::parameter_store::filters::{
    self, CheckedFilter, ParameterStringFilter, ParametersFilter,
};
use crate::parameter_store::parameters::{ParameterView, shown_value};
use crate::parameter_store::{ParameterId, ParameterStore, Result, error};
use crate::views::{Seconds, home};

/// Items of a page where the request does not say, and at most.
const PATH_ITEMS: usize = 10;
const DESCRIBED_ITEMS: usize = 50;
/// Rows that are read at once, and how often, in search of parameters that the filters let through.
const ROWS_AT_ONCE: usize = 100;
const MAX_SCANS: usize = 10;

/// A page of parameters below `prefix` that `admits` lets through, and where the next one starts.
async fn page(
    cx: &Context<ParameterStore>,
    prefix: &str,
    after: String,
    limit: usize,
    admits: impl Fn(&Parameter, &std::collections::BTreeMap<String, String>) -> bool,
) -> Result<(Vec<Parameter>, Option<String>)> {
    let (home, parameters) = (home(cx.scope()), &cx.state().parameters);
    let (mut found, mut after) = (Vec::new(), after);
    for _ in 0..MAX_SCANS {
        let rows = parameters.page(&home, prefix, &after, ROWS_AT_ONCE).await?;
        for (parameter, tags) in rows.items {
            if !admits(&parameter, &tags) {
                continue;
            }
            if found.len() == limit {
                let last = found.last().map(|last: &Parameter| last.name.clone());
                return Ok((found, last));
            }
            found.push(parameter);
        }
        match rows.next {
            Some(next) => after = next,
            None => return Ok((found, None)),
        }
    }
    Ok((found, Some(after)))
}

/// The position that a token of a listing encodes.
fn position(listing: &str, of: &str, token: Option<&str>) -> Result<String> {
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(String::new());
    };
    let parts = PageToken::decode(listing, token);
    match parts.and_then(|parts| <[String; 2]>::try_from(parts).ok()) {
        Some([found, after]) if found == of => Ok(after),
        _ => Err(error::bad_token()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParametersByPath {
    path: String,
    recursive: Option<bool>,
    parameter_filters: Option<Vec<ParameterStringFilter>>,
    with_decryption: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParametersByPathOutput {
    parameters: Vec<ParameterView>,
    next_token: Option<String>,
}

impl Operation for GetParametersByPath {
    type Service = ParameterStore;
    type Output = GetParametersByPathOutput;

    const NAME: &'static str = "GetParametersByPath";
    /// Who reads a secret is worth a record.
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.path))
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<GetParametersByPathOutput> {
        if !self.path.starts_with('/') {
            return Err(error::invalid(
                "The parameter doesn't meet the parameter name requirements. The parameter name \
                 must begin with a forward slash \"/\".",
            ));
        }
        let filters = filters::check(self.parameter_filters.unwrap_or_default(), true)?;
        let recursive = self.recursive == Some(true);
        let prefix = format!("{}/", self.path.trim_end_matches('/'));
        let key = format!("{recursive} {prefix}");
        let after = position(Self::NAME, &key, self.next_token.as_deref())?;
        let limit = self.max_results.unwrap_or(PATH_ITEMS);
        let (found, next) = page(cx, &prefix, after, limit, |parameter, tags| {
            let below = is_below(&self.path, &parameter.name, recursive);
            below && filters.iter().all(|filter| filter.admits(parameter, tags))
        })
        .await?;
        let decrypted = self.with_decryption == Some(true);
        let views = found.iter();
        let views = views.map(|one| ParameterView::of(one, &Selector::Newest, decrypted));
        Ok(GetParametersByPathOutput {
            parameters: views.collect(),
            next_token: next.map(|after| PageToken::encode(Self::NAME, &[&key, &after])),
        })
    }
}

/// What listings say of a parameter without its value: `ParameterMetadata` of the service model,
/// and the greater part of `ParameterHistory`.
#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetadataView {
    name: String,
    #[serde(rename = "ARN")]
    arn: Option<String>,
    #[serde(rename = "Type")]
    kind: ParameterType,
    key_id: Option<String>,
    last_modified_date: Seconds,
    last_modified_user: String,
    description: Option<String>,
    allowed_pattern: Option<String>,
    version: i64,
    tier: String,
    policies: Vec<()>,
    data_type: String,
}

impl MetadataView {
    fn of(parameter: Parameter, with_arn: bool) -> Self {
        let arn = parameter.arn().to_string();
        let details = parameter.details;
        Self {
            name: parameter.name,
            arn: Some(arn).filter(|_| with_arn),
            kind: parameter.kind,
            key_id: details.key_id,
            last_modified_date: parameter.modified_at.into(),
            last_modified_user: parameter.modified_by,
            description: details.description,
            allowed_pattern: details.allowed_pattern,
            version: parameter.version,
            tier: details.tier,
            policies: Vec::new(),
            data_type: details.data_type,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeParameters {
    filters: Option<Vec<ParametersFilter>>,
    parameter_filters: Option<Vec<ParameterStringFilter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
    shared: Option<bool>,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeParametersOutput {
    parameters: Vec<MetadataView>,
    next_token: Option<String>,
}

impl Operation for DescribeParameters {
    type Service = ParameterStore;
    type Output = DescribeParametersOutput;

    const NAME: &'static str = "DescribeParameters";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::All(home(scope)))
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<DescribeParametersOutput> {
        let limit = self.max_results.unwrap_or(DESCRIBED_ITEMS);
        let after = position(Self::NAME, "", self.next_token.as_deref())?;
        if self.shared == Some(true) {
            // No account shares parameters with another one.
            return Ok(DescribeParametersOutput {
                parameters: Vec::new(),
                next_token: None,
            });
        }
        let old = self.filters.unwrap_or_default().into_iter();
        let old = old.map(ParameterStringFilter::from);
        let all = old.chain(self.parameter_filters.unwrap_or_default());
        let filters: Vec<CheckedFilter> = filters::check(all.collect(), false)?;
        let (found, next) = page(cx, "", after, limit, |parameter, tags| {
            filters.iter().all(|filter| filter.admits(parameter, tags))
        })
        .await?;
        let views = found.into_iter().map(|one| MetadataView::of(one, true));
        Ok(DescribeParametersOutput {
            parameters: views.collect(),
            next_token: next.map(|after| PageToken::encode(Self::NAME, &["", &after])),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameterHistory {
    name: String,
    with_decryption: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// `ParameterHistory` of the service model.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HistoryView {
    #[serde(flatten)]
    metadata: MetadataView,
    value: String,
    labels: Vec<String>,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameterHistoryOutput {
    parameters: Vec<HistoryView>,
    next_token: Option<String>,
}

impl Operation for GetParameterHistory {
    type Service = ParameterStore;
    type Output = GetParameterHistoryOutput;

    const NAME: &'static str = "GetParameterHistory";
    /// Who reads a secret is worth a record.
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        ParameterId::parameter(scope, &self.name)
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<GetParameterHistoryOutput> {
        let reference = ParameterRef::parse(&home(cx.scope()), &self.name)?;
        let after = position(Self::NAME, &reference.name, self.next_token.as_deref())?;
        let after = if after.is_empty() {
            Ok(0)
        } else {
            after.parse()
        };
        let after = after.map_err(|_| error::bad_token())?;
        let limit = self.max_results.unwrap_or(DESCRIBED_ITEMS);
        let page = cx
            .state()
            .parameters
            .history(&reference, after, limit)
            .await?;
        let decrypted = self.with_decryption == Some(true);
        let views = page.items.into_iter().map(|one| HistoryView {
            value: shown_value(&one, decrypted),
            metadata: MetadataView::of(one, false),
            labels: Vec::new(),
        });
        let token =
            |last: i64| PageToken::encode(Self::NAME, &[&reference.name, &last.to_string()]);
        Ok(GetParameterHistoryOutput {
            parameters: views.collect(),
            next_token: page.next.map(token),
        })
    }
}
