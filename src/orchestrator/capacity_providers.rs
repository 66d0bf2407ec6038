//! Capacity providers: names under which a cluster's instances are chosen.
//!
//! Source: ECS developer guide, "Capacity providers"; messages as clients quote them.

use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Page};
use wharfinger_db::{Db, Tx};

use crate::capacity_strategy::is_fargate;
use crate::error::{Error, Result};
use crate::identifiers::is_name;
use crate::model::{
    AccountRegion, AutoScalingGroupProvider, CapacityProvider, CapacityProviderDetails,
    CapacityProviderStatus, CapacityProviderUpdateStatus, ManagedScaling, Switch, Tag,
};
use crate::store::{capacity_providers as store, clusters};

/// Most capacity providers of an account in a region.
const MAX_PROVIDERS: usize = 1_000;

/// Operations on capacity providers.
#[derive(Clone)]
pub struct CapacityProviders {
    db: Db,
    clock: Clock,
}

impl CapacityProviders {
    pub(super) const fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Makes a capacity provider. One of the name that was deleted is replaced.
    ///
    /// # Errors
    /// [`Error::Client`] for a name or Auto Scaling group that another provider has,
    /// [`Error::InvalidParameter`] for an invalid name or ARN, [`Error::LimitExceeded`].
    pub async fn create(
        &self,
        home: &AccountRegion,
        name: &str,
        group: AutoScalingGroupProvider,
        tags: Vec<Tag>,
    ) -> Result<CapacityProvider> {
        check_name(name)?;
        check_group(&group.auto_scaling_group_arn)?;
        crate::tags::check(&tags)?;
        let new = CapacityProvider {
            home: home.clone(),
            name: name.to_owned(),
            status: CapacityProviderStatus::Active,
            created_at: self.clock.now(),
            details: CapacityProviderDetails {
                auto_scaling_group: Some(with_defaults(group)),
                tags,
                ..CapacityProviderDetails::default()
            },
        };
        let work = move |tx: &mut Tx<'_>| {
            let others = store::page(tx, &new.home, "", MAX_PROVIDERS)?;
            if others.iter().any(|one| one.name == new.name) {
                return Err(Error::Client(
                    "The specified capacity provider already exists. To change the configuration \
                     of an existing capacity provider, update the capacity provider."
                        .to_owned(),
                ));
            }
            if others.iter().any(|one| group_of(one) == group_of(&new)) {
                return Err(Error::Client(
                    "The specified Auto Scaling group ARN is already being used by another \
                     capacity provider. Specify a unique Auto Scaling group ARN and try again."
                        .to_owned(),
                ));
            }
            if others.len() == MAX_PROVIDERS {
                return Err(Error::LimitExceeded(
                    "The maximum number of capacity providers has been exceeded.".to_owned(),
                ));
            }
            store::put(tx, &new)?;
            Ok(new.clone())
        };
        self.db.write(work).await
    }

    /// The capacity provider of this name, also an inactive one.
    pub async fn get(&self, home: &AccountRegion, name: &str) -> Result<Option<CapacityProvider>> {
        let (home, name) = (home.clone(), name.to_owned());
        let read = move |tx: &mut Tx<'_>| store::by_name(tx, &home, &name);
        Ok(self.db.get(read).await?)
    }

    /// Up to `limit` active capacity providers with names after `after`; the page's key is the last
    /// name.
    pub async fn page(
        &self,
        home: &AccountRegion,
        after: &str,
        limit: usize,
    ) -> Result<Page<CapacityProvider>> {
        let (home, after) = (home.clone(), after.to_owned());
        let read = move |tx: &mut Tx<'_>| store::page(tx, &home, &after, limit + 1);
        let rows = self.db.read(read).await?;
        Ok(Page::of(rows, limit, |provider| provider.name.clone()))
    }

    /// Changes the settings that `change` has.
    ///
    /// # Errors
    /// [`Error::Client`] where there is no active provider of the name.
    pub async fn update(
        &self,
        home: &AccountRegion,
        name: &str,
        change: AutoScalingGroupProvider,
    ) -> Result<CapacityProvider> {
        let (home, name) = (home.clone(), name.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut provider = existing(tx, &home, &name)?;
            let mut group = provider
                .details
                .auto_scaling_group
                .take()
                .unwrap_or_default();
            if let Some(scaling) = change.managed_scaling {
                let old = group.managed_scaling.unwrap_or_default();
                group.managed_scaling = Some(merged(old, scaling));
            }
            group.managed_termination_protection = change
                .managed_termination_protection
                .or(group.managed_termination_protection);
            group.managed_draining = change.managed_draining.or(group.managed_draining);
            provider.details.auto_scaling_group = Some(with_defaults(group));
            provider.details.update_status = Some(CapacityProviderUpdateStatus::UpdateComplete);
            provider.details.update_status_reason = None;
            store::put(tx, &provider)?;
            Ok(provider)
        };
        self.db.write(work).await
    }

    /// Makes a capacity provider inactive. One that a cluster has stays active, and says why.
    ///
    /// # Errors
    /// [`Error::Client`] where there is no active provider of the name,
    /// [`Error::InvalidParameter`] for one of Fargate's.
    pub async fn delete(&self, home: &AccountRegion, name: &str) -> Result<CapacityProvider> {
        if is_fargate(name) {
            return Err(Error::InvalidParameter(
                "The FARGATE and FARGATE_SPOT capacity providers are reserved and cannot be \
                 deleted."
                    .to_owned(),
            ));
        }
        let (home, name) = (home.clone(), name.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut provider = existing(tx, &home, &name)?;
            if let Some(cluster) = clusters::with_capacity_provider(tx, &home, &name)? {
                provider.details.update_status = Some(CapacityProviderUpdateStatus::DeleteFailed);
                provider.details.update_status_reason = Some(format!(
                    "The capacity provider cannot be deleted because it is associated with \
                     cluster: {}. Remove the capacity provider from the cluster and try again.",
                    cluster.name.name
                ));
            } else {
                provider.status = CapacityProviderStatus::Inactive;
                provider.details.update_status = Some(CapacityProviderUpdateStatus::DeleteComplete);
                provider.details.update_status_reason = None;
                provider.details.tags.clear();
            }
            store::put(tx, &provider)?;
            Ok(provider)
        };
        self.db.write(work).await
    }
}

fn existing(tx: &mut Tx<'_>, home: &AccountRegion, name: &str) -> Result<CapacityProvider> {
    let found = store::by_name(tx, home, name)?;
    let found = found.filter(|provider| provider.status == CapacityProviderStatus::Active);
    found.ok_or_else(|| {
        Error::Client(
            "The specified capacity provider does not exist. Specify a valid name or ARN and try \
             again."
                .to_owned(),
        )
    })
}

fn group_of(provider: &CapacityProvider) -> Option<&str> {
    let group = provider.details.auto_scaling_group.as_ref();
    group.map(|group| group.auto_scaling_group_arn.as_str())
}

/// A name that users may give: none that begins as AWS's own do.
fn check_name(name: &str) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    let reserved = ["aws", "ecs", "fargate"];
    if is_name(name) && !reserved.iter().any(|start| lower.starts_with(start)) {
        return Ok(());
    }
    Err(Error::InvalidParameter(
        "The specified capacity provider name is invalid. Up to 255 characters are allowed, \
         including letters (upper and lowercase), numbers, underscores, and hyphens. The name \
         cannot be prefixed with \"aws\", \"ecs\", or \"fargate\". Specify a valid name and try \
         again."
            .to_owned(),
    ))
}

/// Any well-formed ARN of an Auto Scaling group is taken: this server has none of its own yet.
fn check_group(arn: &str) -> Result<()> {
    let parsed: Option<Arn> = arn.parse().ok();
    let is_group = |arn: &Arn| {
        arn.service() == "autoscaling" && arn.resource().starts_with("autoScalingGroup:")
    };
    // The API takes the name of a group as well.
    if parsed.as_ref().is_some_and(is_group) || (!arn.starts_with("arn:") && !arn.is_empty()) {
        return Ok(());
    }
    Err(Error::InvalidParameter(
        "The specified Auto Scaling group ARN is invalid. Specify a valid ARN and try again."
            .to_owned(),
    ))
}

/// The settings with the defaults of the ECS API reference.
fn with_defaults(group: AutoScalingGroupProvider) -> AutoScalingGroupProvider {
    let scaling = group.managed_scaling.unwrap_or_default();
    let defaults = ManagedScaling {
        status: Some(Switch::Disabled),
        target_capacity: Some(100),
        minimum_scaling_step_size: Some(1),
        maximum_scaling_step_size: Some(10_000),
        instance_warmup_period: Some(300),
    };
    AutoScalingGroupProvider {
        managed_scaling: Some(merged(defaults, scaling)),
        managed_termination_protection: group
            .managed_termination_protection
            .or(Some(Switch::Disabled)),
        managed_draining: group.managed_draining.or(Some(Switch::Enabled)),
        ..group
    }
}

fn merged(old: ManagedScaling, new: ManagedScaling) -> ManagedScaling {
    ManagedScaling {
        status: new.status.or(old.status),
        target_capacity: new.target_capacity.or(old.target_capacity),
        minimum_scaling_step_size: new
            .minimum_scaling_step_size
            .or(old.minimum_scaling_step_size),
        maximum_scaling_step_size: new
            .maximum_scaling_step_size
            .or(old.maximum_scaling_step_size),
        instance_warmup_period: new.instance_warmup_period.or(old.instance_warmup_period),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups() {
        for (name, legal) in [
            ("web-1_A", true),
            ("", false),
            ("a b", false),
            ("Fargate2", false),
            ("awsome", false),
            ("ecs", false),
        ] {
            assert_eq!(check_name(name).is_ok(), legal, "{name}");
        }
        let arn = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:\
                   autoScalingGroupName/web";
        assert_eq!(check_group(arn), Ok(()));
        assert!(check_group("arn:aws:ecs:us-east-1:123456789012:cluster/a").is_err());
        assert!(check_group("").is_err());
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let given = ManagedScaling {
            status: Some(Switch::Enabled),
            target_capacity: Some(80),
            ..ManagedScaling::default()
        };
        let group = with_defaults(AutoScalingGroupProvider {
            managed_scaling: Some(given),
            ..AutoScalingGroupProvider::default()
        });
        let scaling = group.managed_scaling.expect("settings");
        assert_eq!(
            (scaling.status, scaling.target_capacity),
            (Some(Switch::Enabled), Some(80))
        );
        assert_eq!(scaling.instance_warmup_period, Some(300));
        assert_eq!(group.managed_draining, Some(Switch::Enabled));
        assert_eq!(group.managed_termination_protection, Some(Switch::Disabled));
    }
}
