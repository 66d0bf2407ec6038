//! The container instance that an agent connects for, as decisions see it.

use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::Resource;
use wharfinger_orchestrator::model::{ClusterName, ContainerInstance, InstanceId};

/// A container instance by its name, with its tags if it exists.
pub(crate) struct InstanceResource {
    arn: Arn,
    account: AccountId,
    tags: Vec<(String, String)>,
}

impl InstanceResource {
    pub(crate) fn new(
        cluster: &ClusterName,
        id: &InstanceId,
        instance: Option<&ContainerInstance>,
    ) -> Self {
        let tags = instance.map_or(&[][..], |instance| &instance.details.tags);
        let pair = |tag: &wharfinger_orchestrator::model::Tag| {
            let (key, value) = (tag.key.clone(), tag.value.clone());
            (key.unwrap_or_default(), value.unwrap_or_default())
        };
        Self {
            arn: cluster.instance_arn(id),
            account: cluster.home.account,
            tags: tags.iter().map(pair).collect(),
        }
    }
}

impl Resource for InstanceResource {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}
