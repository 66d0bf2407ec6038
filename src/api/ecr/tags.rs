//! `TagResource`, `UntagResource`, `ListTagsForResource`: the tags of a repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::Arn;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;

use crate::resource::ResourceId;
use crate::{Ecr, Result, error};

/// Most tags of a resource, and most characters of a key and of a value (ECR user guide, "Tag
/// restrictions").
const MAX_TAGS: usize = 50;
const MAX_KEY_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 256;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagView {
    key: String,
    value: String,
}

impl TagView {
    pub(super) fn from_pair((key, value): (&String, &String)) -> Self {
        Self {
            key: key.clone(),
            value: value.clone(),
        }
    }

    pub(super) fn pair(&self) -> (String, String) {
        (self.key.clone(), self.value.clone())
    }
}

/// Checks the tags that a resource may get.
pub(super) fn checked(tags: Vec<TagView>) -> Result<BTreeMap<String, String>> {
    if tags.len() > MAX_TAGS {
        return Err(error::too_many_tags(MAX_TAGS));
    }
    let mut checked = BTreeMap::new();
    for TagView { key, value } in tags {
        if !(1..=MAX_KEY_CHARS).contains(&key.chars().count())
            || value.chars().count() > MAX_VALUE_CHARS
        {
            let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
            let message = format!(
                "The tag '{shown}' must have a key of 1 to {MAX_KEY_CHARS} and a value of at most \
                 {MAX_VALUE_CHARS} characters"
            );
            return Err(error::invalid_tag(message));
        }
        if key
            .get(..4)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
        {
            return Err(error::invalid_tag(format!(
                "The tag key '{key}' begins with 'aws:', which is reserved"
            )));
        }
        if let Some(character) = key
            .chars()
            .chain(value.chars())
            .find(|character| !is_legal(*character))
        {
            return Err(error::invalid_tag(format!(
                "The tag '{key}' holds the character {character:?}, which tags cannot hold"
            )));
        }
        if let Some((key, _)) = checked.get_key_value(&key) {
            return Err(error::invalid_tag(format!(
                "The tag key '{key}' is given more than once"
            )));
        }
        checked.insert(key, value);
    }
    Ok(checked)
}

/// Letters, digits and spaces of any script, and `_ . : / = + - @`.
fn is_legal(character: char) -> bool {
    character.is_alphanumeric() || character == ' ' || "_.:/=+-@".contains(character)
}

/// The repository that `resourceArn` names.
fn parse_arn(text: &str) -> Result<(RegistryId, RepositoryName)> {
    let invalid = || error::invalid("resourceArn", "Invalid ARN");
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let account = arn.account_id().ok_or_else(invalid)?;
    let region = arn.region().parse().map_err(|_| invalid())?;
    let name = arn.repository_name().and_then(|name| name.parse().ok());
    let name: RepositoryName = name.ok_or_else(invalid)?;
    let registry = RegistryId { account, region };
    // The ARN must be spelled as policies spell it: one with another partition would evade them.
    if registry.repository_arn(&name) == arn {
        Ok((registry, name))
    } else {
        Err(invalid())
    }
}

/// The resource that `resourceArn` names, which must be in the region that the request addresses.
fn resource_of(arn: &str, scope: &RequestScope) -> Result<ResourceId> {
    let (registry, name) = parse_arn(arn)?;
    if registry.region == scope.region {
        Ok(ResourceId::Repository(registry, name))
    } else {
        Err(error::invalid("resourceArn", "Invalid ARN"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: Vec<TagView>,
}

#[derive(Debug, Serialize)]
pub(super) struct TagResourceOutput {}

impl Operation for TagResource {
    type Service = Ecr;
    type Output = TagResourceOutput;

    const NAME: &'static str = "TagResource";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        resource_of(&self.resource_arn, scope)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let tags = self.tags.iter().map(TagView::pair).collect();
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_tags(tags)])
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<TagResourceOutput> {
        let repository = cx.resource().repository()?;
        let add = checked(self.tags)?;
        let repositories = &cx.state().registry.repositories;
        match repositories
            .set_tags(repository, add, Vec::new(), MAX_TAGS)
            .await?
        {
            Some(_) => Ok(TagResourceOutput {}),
            None => Err(error::too_many_tags(MAX_TAGS)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct UntagResourceOutput {}

impl Operation for UntagResource {
    type Service = Ecr;
    type Output = UntagResourceOutput;

    const NAME: &'static str = "UntagResource";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        resource_of(&self.resource_arn, scope)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<UntagResourceOutput> {
        let repository = cx.resource().repository()?;
        let repositories = &cx.state().registry.repositories;
        // Removing tags never exceeds the limit of their number.
        repositories
            .set_tags(repository, BTreeMap::new(), self.tag_keys, usize::MAX)
            .await?;
        Ok(UntagResourceOutput {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsForResource {
    resource_arn: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ListTagsForResourceOutput {
    tags: Vec<TagView>,
}

impl Operation for ListTagsForResource {
    type Service = Ecr;
    type Output = ListTagsForResourceOutput;

    const NAME: &'static str = "ListTagsForResource";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        resource_of(&self.resource_arn, scope)
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ListTagsForResourceOutput> {
        let repository = cx.resource().repository()?;
        let tags = repository.settings.tags.iter().map(TagView::from_pair);
        Ok(ListTagsForResourceOutput {
            tags: tags.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> TagView {
        TagView {
            key: key.into(),
            value: value.into(),
        }
    }

    #[test]
    fn tags_by_the_rules() {
        assert!(checked(vec![tag("Team", "Ünïcode Ok"), tag("a:b/c=+-@_.", "")]).is_ok());
        for bad in [
            tag("", "x"),
            tag(&"k".repeat(129), "x"),
            tag("k", &"v".repeat(257)),
            tag("AWS:x", "x"),
            tag("a*", "x"),
        ] {
            assert_eq!(
                checked(vec![bad]).expect_err("refused").fault().code,
                "InvalidTagParameterException"
            );
        }
        assert_eq!(
            checked(vec![tag("a", "1"), tag("a", "2")])
                .expect_err("twice")
                .fault()
                .code,
            "InvalidTagParameterException"
        );
        let many = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert_eq!(
            checked(many).expect_err("too many").fault().code,
            "TooManyTagsException"
        );
    }

    #[test]
    fn only_a_repositorys_own_arn_is_taken() {
        assert!(parse_arn("arn:aws:ecr:us-east-1:123456789012:repository/a/b").is_ok());
        for bad in [
            "",
            "arn:aws:ecr:us-east-1:123456789012:repository/A",
            "arn:aws:s3:us-east-1:123456789012:repository/ab",
            "arn:aws:ecr:us-east-1::repository/ab",
            "arn:aws-cn:ecr:us-east-1:123456789012:repository/ab",
            "arn:aws:ecr::123456789012:repository/ab",
        ] {
            assert_eq!(
                parse_arn(bad).expect_err("refused").fault().message,
                "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'"
            );
        }
    }
}
