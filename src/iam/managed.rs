//! The AWS managed policies that users of ECR, ECS and IAM attach, with the documents and dates
//! that AWS publishes for them.
//!
//! Source: AWS Managed Policy Reference. `ReadOnlyAccess` is cut to the services that a container
//! platform has; the other documents are whole.

use std::sync::{Arc, LazyLock};

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;

use crate::policy::{Grammar, Policy};
use crate::principal::NamedPolicy;

/// A policy that AWS manages.
#[derive(Clone, Debug)]
pub struct AwsManagedPolicy {
    pub policy: NamedPolicy,
    /// `arn:aws:iam::aws:policy<path><name>`
    pub arn: Arn,
    /// `/`, `/service-role/` or `/aws-service-role/`.
    pub path: &'static str,
    /// `ANPA` and 17 more characters.
    pub id: &'static str,
    /// The version that applies, such as `v3`.
    pub version: &'static str,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A policy as it is written down here.
struct Published {
    name: &'static str,
    path: &'static str,
    id: &'static str,
    version: &'static str,
    created: &'static str,
    updated: &'static str,
    document: &'static str,
}

/// One row: path, name, id, version, creation and last change.
macro_rules! published {
    ($($path:literal $name:literal $id:literal $version:literal $created:literal $updated:literal),+
     $(,)?) => {
        [$(Published {
            name: $name,
            path: $path,
            id: $id,
            version: $version,
            created: $created,
            updated: $updated,
            document: include_str!(concat!("managed/", $name, ".json")),
        }),+]
    };
}

/// In the order of the names. AWS never published the ids of `…PullOnly` and
/// `ECRReplication…`; the ones here are made up.
static PUBLISHED: [Published; 18] = published![
    "/aws-service-role/" "AWSApplicationAutoscalingECSServicePolicy" "ANPAJFXLLV7AKH5PSFOYG" "v1"
        "2017-10-25T23:53:08Z" "2017-10-25T23:53:08Z",
    "/" "AWSCodeDeployRoleForECS" "ANPAIIL3KXEKRGEN2HFIO" "v3"
        "2018-11-27T20:40:57Z" "2019-09-23T22:37:46Z",
    "/" "AdministratorAccess" "ANPAIWMBCKSKIEE64ZLYK" "v1"
        "2015-02-06T18:39:46Z" "2015-02-06T18:39:46Z",
    "/" "AmazonEC2ContainerRegistryFullAccess" "ANPAIESRL7KD7IIVF6V4W" "v3"
        "2015-12-21T17:06:48Z" "2020-12-05T00:04:19Z",
    "/" "AmazonEC2ContainerRegistryPowerUser" "ANPAJDNE5PIHROIBGGDDW" "v3"
        "2015-12-21T17:05:33Z" "2019-12-10T20:48:08Z",
    "/" "AmazonEC2ContainerRegistryPullOnly" "ANPAZKAPJZG4PULLONLY2" "v1"
        "2024-10-04T16:58:49Z" "2024-10-04T16:58:49Z",
    "/" "AmazonEC2ContainerRegistryReadOnly" "ANPAIFYZPA37OOHVIH7KQ" "v3"
        "2015-12-21T17:04:15Z" "2019-12-10T20:56:32Z",
    "/service-role/" "AmazonEC2ContainerServiceAutoscaleRole" "ANPAIUAP3EGGGXXCPDQKK" "v2"
        "2016-05-12T23:25:44Z" "2018-02-05T19:15:15Z",
    "/service-role/" "AmazonEC2ContainerServiceRole" "ANPAJO53W2XHNACG7V77Q" "v2"
        "2015-04-09T16:14:19Z" "2016-08-11T13:08:01Z",
    "/service-role/" "AmazonEC2ContainerServiceforEC2Role" "ANPAJLYJCVHC7TQHCSQDS" "v10"
        "2015-03-19T18:45:18Z" "2026-02-12T17:59:52Z",
    "/aws-service-role/" "AmazonECSServiceRolePolicy" "ANPAIVUWKCAI7URU4WUEI" "v24"
        "2017-10-14T01:18:58Z" "2026-04-22T23:12:09Z",
    "/service-role/" "AmazonECSTaskExecutionRolePolicy" "ANPAJG4T4G4PV56DE72PY" "v1"
        "2017-11-16T18:48:22Z" "2017-11-16T18:48:22Z",
    "/" "AmazonECS_FullAccess" "ANPAJ7S7AN6YQPTJC7IFS" "v21"
        "2017-11-07T21:36:54Z" "2024-08-13T19:39:37Z",
    "/aws-service-role/" "ECRReplicationServiceRolePolicy" "ANPAZKAPJZG4ECRREPL22" "v1"
        "2020-12-04T22:11:04Z" "2020-12-04T22:11:04Z",
    "/" "IAMFullAccess" "ANPAI7XKCFMBPM3QQRRVQ" "v2"
        "2015-02-06T18:40:38Z" "2019-06-21T19:40:00Z",
    "/" "IAMReadOnlyAccess" "ANPAJKSO7NDY4T57MWDSQ" "v4"
        "2015-02-06T18:40:39Z" "2018-01-25T19:11:27Z",
    "/" "PowerUserAccess" "ANPAJYRXTHIB4FOVS3ZXS" "v12"
        "2015-02-06T18:39:47Z" "2026-02-12T17:59:14Z",
    "/" "ReadOnlyAccess" "ANPAILL3HVNFSB6DCOWYQ" "v182"
        "2015-02-06T18:39:48Z" "2026-04-03T15:27:12Z",
];

impl Published {
    /// `None` where the document is no policy or a date no date, which a test rules out.
    fn compile(&self) -> Option<AwsManagedPolicy> {
        let resource = format!("policy{}{}", self.path, self.name);
        let date = |text: &str| {
            let date: jiff::Timestamp = text.parse().ok()?;
            Some(Timestamp::from_ms(date.as_millisecond()))
        };
        let policy = Policy::parse(self.document.trim_end(), Grammar::Identity).ok()?;
        Some(AwsManagedPolicy {
            policy: NamedPolicy {
                name: self.name.into(),
                owner: None,
                policy: Arc::new(policy),
            },
            arn: Arn::new("aws", "iam", "", "aws", &resource),
            path: self.path,
            id: self.id,
            version: self.version,
            created_at: date(self.created)?,
            updated_at: date(self.updated)?,
        })
    }
}

static COMPILED: LazyLock<Vec<AwsManagedPolicy>> =
    LazyLock::new(|| PUBLISHED.iter().filter_map(Published::compile).collect());

/// All policies that AWS manages, in the order of their names.
pub fn aws_managed_policies() -> &'static [AwsManagedPolicy] {
    &COMPILED
}

/// The managed policy of this name or ARN.
#[must_use]
pub fn managed_policy(name: &str) -> Option<NamedPolicy> {
    let found = aws_managed_policies()
        .iter()
        .find(|managed| &*managed.policy.name == name || managed.arn.as_str() == name)?;
    Some(found.policy.clone())
}

/// The ARN of the policy of AWS with this name or ARN.
pub(super) fn managed_policy_arn(name: &str) -> Option<String> {
    let mut policies = aws_managed_policies().iter();
    let found = policies.find(|known| &*known.policy.name == name || known.arn.as_str() == name)?;
    Some(found.arn.to_string())
}

/// The names of all managed policies, in order.
pub fn managed_policy_names() -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().map(|published| published.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_compiles_and_is_found() {
        assert_eq!(aws_managed_policies().len(), PUBLISHED.len());
        for name in managed_policy_names() {
            assert_eq!(&*managed_policy(name).expect(name).name, name);
        }
        for managed in aws_managed_policies() {
            let arn = managed.arn.as_str();
            assert_eq!(
                managed_policy(arn).expect(arn).name,
                managed.policy.name,
                "{arn}"
            );
            assert!(managed.created_at <= managed.updated_at, "{arn}");
        }
        assert!(managed_policy("NoSuchPolicy").is_none());
        assert!(
            managed_policy("arn:aws:iam::aws:policy/AmazonECSTaskExecutionRolePolicy").is_none(),
            "its ARN has a path"
        );
    }

    #[test]
    fn names_are_sorted_and_ids_are_unique() {
        let names: Vec<_> = managed_policy_names().collect();
        assert!(names.is_sorted());
        let mut ids: Vec<_> = PUBLISHED.iter().map(|published| published.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), PUBLISHED.len());
        for id in ids {
            let legal = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
            assert!(id.len() == 21 && id.starts_with("ANPA") && id.bytes().all(legal));
        }
    }
}
