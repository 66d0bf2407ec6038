//! `TagResource`, `UntagResource`, `ListTagsForResource`: the tags of a repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_aws::{Arn, Fault};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::error;
use crate::api::operation::Operation;

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
    pub(super) fn pair(&self) -> (String, String) {
        (self.key.clone(), self.value.clone())
    }
}

/// Tags that a resource may get, or what is wrong with them.
pub(super) fn checked(tags: Vec<TagView>) -> Result<BTreeMap<String, String>, Fault> {
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
                "The tag '{shown}' must have a key of 1 to {MAX_KEY_CHARS} and a value of at most {MAX_VALUE_CHARS} characters"
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
fn target(arn: &str) -> Result<(RegistryId, RepositoryName, Arn), Fault> {
    let invalid = || error::invalid("resourceArn", "Invalid ARN");
    let arn: Arn = arn.parse().map_err(|_| invalid())?;
    let account = arn.account_id().ok_or_else(invalid)?;
    let region = arn.region().parse().map_err(|_| invalid())?;
    let name: RepositoryName = arn
        .repository_name()
        .and_then(|name| name.parse().ok())
        .ok_or_else(invalid)?;
    let registry = RegistryId { account, region };
    // The ARN as we write it: another partition would escape policies that name this one.
    if registry.repository_arn(&name) == arn {
        Ok((registry, name, arn))
    } else {
        Err(invalid())
    }
}

/// The repository, which must be in the region that the request is signed for.
fn target_here(arn: &str, scope: &Scope) -> Result<(RegistryId, RepositoryName, Arn), Fault> {
    let found = target(arn)?;
    if found.0.region == scope.region {
        Ok(found)
    } else {
        Err(error::invalid("resourceArn", "Invalid ARN"))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: Vec<TagView>,
}

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    type Output = Nothing;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        let (registry, _, arn) = target_here(&self.resource_arn, scope)?;
        let given = self.tags.iter().map(TagView::pair).collect();
        Ok(vec![
            Demand::new("ecr:TagResource", Some(arn), registry.account).with_tags(given),
        ])
    }

    async fn run(self, cx: &Context) -> Result<Nothing, Fault> {
        let (registry, name, _) = target_here(&self.resource_arn, cx.scope())?;
        let add = checked(self.tags)?;
        let set = cx
            .app()
            .registry
            .repositories
            .set_tags(&registry, &name, add, Vec::new(), MAX_TAGS)
            .await;
        set.map_err(|error| error::fault(cx, &error))?
            .map(|_| Nothing {})
            .ok_or_else(|| error::too_many_tags(MAX_TAGS))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    type Output = Nothing;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        let (registry, _, arn) = target_here(&self.resource_arn, scope)?;
        let named = self
            .tag_keys
            .iter()
            .map(|key| (key.clone(), String::new()))
            .collect();
        Ok(vec![
            Demand::new("ecr:UntagResource", Some(arn), registry.account).with_tags(named),
        ])
    }

    async fn run(self, cx: &Context) -> Result<Nothing, Fault> {
        let (registry, name, _) = target_here(&self.resource_arn, cx.scope())?;
        // Taking tags away never leaves more than there were: no limit applies.
        let set = cx
            .app()
            .registry
            .repositories
            .set_tags(&registry, &name, BTreeMap::new(), self.tag_keys, usize::MAX)
            .await;
        set.map_err(|error| error::fault(cx, &error))
            .map(|_| Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsForResource {
    resource_arn: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Tags {
    tags: Vec<TagView>,
}

impl Operation for ListTagsForResource {
    const NAME: &'static str = "ListTagsForResource";
    type Output = Tags;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        let (registry, _, arn) = target_here(&self.resource_arn, scope)?;
        Ok(vec![Demand::new(
            "ecr:ListTagsForResource",
            Some(arn),
            registry.account,
        )])
    }

    async fn run(self, cx: &Context) -> Result<Tags, Fault> {
        let (registry, name, _) = target_here(&self.resource_arn, cx.scope())?;
        let found = cx
            .app()
            .registry
            .repositories
            .get(&registry, &name)
            .await
            .map_err(|error| error::fault(cx, &error))?;
        let tags = found
            .settings
            .tags
            .into_iter()
            .map(|(key, value)| TagView { key, value })
            .collect();
        Ok(Tags { tags })
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
                checked(vec![bad]).expect_err("refused").code,
                "InvalidTagParameterException"
            );
        }
        assert_eq!(
            checked(vec![tag("a", "1"), tag("a", "2")])
                .expect_err("twice")
                .code,
            "InvalidTagParameterException"
        );
        let many = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert_eq!(
            checked(many).expect_err("too many").code,
            "TooManyTagsException"
        );
    }

    #[test]
    fn only_a_repositorys_own_arn_is_taken() {
        assert!(target("arn:aws:ecr:us-east-1:123456789012:repository/a/b").is_ok());
        for bad in [
            "",
            "arn:aws:ecr:us-east-1:123456789012:repository/A",
            "arn:aws:s3:us-east-1:123456789012:repository/ab",
            "arn:aws:ecr:us-east-1::repository/ab",
            "arn:aws-cn:ecr:us-east-1:123456789012:repository/ab",
            "arn:aws:ecr::123456789012:repository/ab",
        ] {
            assert_eq!(
                target(bad).expect_err("refused").message,
                "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'"
            );
        }
    }
}
