//! How requests name task definitions.

use wharfinger_aws::Arn;

use crate::model::{AccountRegion, FamilyRevision};
use crate::task_definition::names::is_plain;

/// A task definition as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskDefinitionName {
    /// The newest active revision of a family.
    Newest(String),
    Revision(FamilyRevision),
}

impl TaskDefinitionName {
    /// Parses `family`, `family:revision` or an ARN of `home`. `None` for what names no task
    /// definition there.
    pub(crate) fn parse(home: &AccountRegion, text: &str) -> Option<Self> {
        let name = if text.starts_with("arn:") {
            let arn: Arn = text.parse().ok()?;
            let name = arn.resource().strip_prefix("task-definition/")?;
            if home.arn(arn.resource()) != arn {
                return None;
            }
            name.to_owned()
        } else {
            text.to_owned()
        };
        let Some((family, revision)) = name.split_once(':') else {
            return is_plain(&name).then_some(Self::Newest(name));
        };
        let digits = revision.bytes().all(|byte| byte.is_ascii_digit());
        let revision = revision.parse().ok();
        let revision = revision.filter(|revision| digits && *revision > 0)?;
        let family = is_plain(family).then(|| family.to_owned())?;
        Some(Self::Revision(FamilyRevision { family, revision }))
    }
}

impl FamilyRevision {
    /// Parses `family:revision` or an ARN of `home`. `None` for what names no revision there.
    pub fn parse(home: &AccountRegion, text: &str) -> Option<Self> {
        match TaskDefinitionName::parse(home, text)? {
            TaskDefinitionName::Newest(_) => None,
            TaskDefinitionName::Revision(name) => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_revisions_and_arns_name_task_definitions() {
        let home = AccountRegion {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let parse = |text: &str| TaskDefinitionName::parse(&home, text);
        let web = FamilyRevision {
            family: "web".to_owned(),
            revision: 3,
        };
        let newest = TaskDefinitionName::Newest("web".to_owned());
        let revision = TaskDefinitionName::Revision(web.clone());
        let prefix = "arn:aws:ecs:us-east-1:123456789012:task-definition/web";
        assert_eq!(parse("web").as_ref(), Some(&newest));
        assert_eq!(parse(prefix).as_ref(), Some(&newest));
        assert_eq!(parse("web:3").as_ref(), Some(&revision));
        assert_eq!(parse(web.arn(&home).as_str()).as_ref(), Some(&revision));
        for other in [
            "",
            "we b",
            "web:",
            "web:0",
            "web:-1",
            "web:+1",
            "web:x",
            "web:99999999999999999999",
            "web:1:2",
            ":1",
            "arn:aws:ecs:us-east-1:999999999999:task-definition/web:3",
            "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:3",
            "arn:aws:ecs:us-east-1:123456789012:service/web",
            "arn:",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
