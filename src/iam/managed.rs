//! The AWS managed policies known by name, with the actions that AWS publishes for them.
//!
//! Source: AWS Managed Policy Reference (`AmazonEC2ContainerRegistry*`, `AdministratorAccess`).

use std::sync::{Arc, LazyLock};

use crate::policy::{Grammar, Policy};
use crate::principal::NamedPolicy;

/// Where AWS keeps its managed policies: `arn:aws:iam::aws:policy/NAME` is the name's long form.
const ARN_PREFIX: &str = "arn:aws:iam::aws:policy/";

/// Actions of `AmazonEC2ContainerRegistryReadOnly`; `…PowerUser` has them too.
macro_rules! read_actions {
    () => {
        r#""ecr:GetAuthorizationToken","ecr:BatchCheckLayerAvailability",
        "ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy","ecr:DescribeRepositories",
        "ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage","ecr:GetLifecyclePolicy",
        "ecr:GetLifecyclePolicyPreview","ecr:ListTagsForResource",
        "ecr:DescribeImageScanFindings""#
    };
}

const DOCUMENTS: [(&str, &str); 5] = [
    (
        "AdministratorAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    ),
    (
        "AmazonEC2ContainerRegistryFullAccess",
        r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":["ecr:*","cloudtrail:LookupEvents"],"Resource":"*"},
            {"Effect":"Allow","Action":["iam:CreateServiceLinkedRole"],"Resource":"*",
             "Condition":{"StringEquals":
                {"iam:AWSServiceName":["replication.ecr.amazonaws.com"]}}}]}"#,
    ),
    (
        "AmazonEC2ContainerRegistryPowerUser",
        concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["#,
            read_actions!(),
            r#","ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload",
            "ecr:PutImage"],"Resource":"*"}]}"#
        ),
    ),
    (
        "AmazonEC2ContainerRegistryPullOnly",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[
            "ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer",
            "ecr:BatchImportUpstreamImage"],"Resource":"*"}]}"#,
    ),
    (
        "AmazonEC2ContainerRegistryReadOnly",
        concat!(
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["#,
            read_actions!(),
            r#"],"Resource":"*"}]}"#
        ),
    ),
];

static COMPILED: LazyLock<Vec<NamedPolicy>> = LazyLock::new(|| {
    let compile = |(name, text): (&str, &str)| {
        Policy::parse(text, Grammar::Identity)
            .ok()
            .map(|policy| (name.into(), Arc::new(policy)))
    };
    DOCUMENTS
        .into_iter()
        .filter_map(compile)
        .map(|(name, policy)| NamedPolicy { name, policy })
        .collect()
});

/// The managed policy of this name or ARN.
#[must_use]
pub fn managed_policy(name: &str) -> Option<NamedPolicy> {
    let name = name.strip_prefix(ARN_PREFIX).unwrap_or(name);
    COMPILED
        .iter()
        .find(|policy| &*policy.name == name)
        .cloned()
}

/// The names of all managed policies, in order.
pub fn managed_policy_names() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.into_iter().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_compiles_and_is_found() {
        for name in managed_policy_names() {
            assert_eq!(&*managed_policy(name).expect(name).name, name);
            assert!(managed_policy(&format!("{ARN_PREFIX}{name}")).is_some());
        }
        assert!(managed_policy("NoSuchPolicy").is_none());
    }
}
