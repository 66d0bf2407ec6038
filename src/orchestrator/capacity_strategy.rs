//! Rules of capacity provider strategies. PURE.
//!
//! Source: ECS API reference, `CapacityProviderStrategyItem` and `PutClusterCapacityProviders`;
//! ECS developer guide, "Capacity providers"; messages as clients quote them.

use crate::error::{Error, Result};
use crate::model::CapacityProviderStrategyItem;

/// The capacity providers that every account has.
pub const FARGATE: &str = "FARGATE";
pub const FARGATE_SPOT: &str = "FARGATE_SPOT";

/// Most capacity providers of a strategy and of a cluster.
const MAX_PROVIDERS: usize = 20;

/// Whether the capacity provider is one of Fargate's, which every account has.
pub fn is_fargate(provider: &str) -> bool {
    [FARGATE, FARGATE_SPOT].contains(&provider)
}

/// Checks the capacity providers that a cluster shall have.
pub(crate) fn check_providers(providers: &[String]) -> Result<()> {
    if providers.len() > MAX_PROVIDERS {
        return invalid("The maximum number of capacity providers per cluster has been exceeded.");
    }
    let twice = |(at, one): (usize, &String)| providers[..at].contains(one);
    if providers.iter().enumerate().any(twice) {
        return invalid("The list of capacity providers can not contain duplicates.");
    }
    Ok(())
}

/// Checks a strategy for a cluster with these capacity providers.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_strategy(
    strategy: &[CapacityProviderStrategyItem],
    providers: &[String],
) -> Result<()> {
    if strategy.len() > MAX_PROVIDERS {
        return invalid(
            "The maximum number of capacity providers per capacity provider strategy has been \
             exceeded.",
        );
    }
    let names = || strategy.iter().map(|item| item.capacity_provider.as_str());
    if !names().all(|name| providers.iter().any(|one| one == name)) {
        return invalid(
            "The capacity provider strategy cannot contain a capacity provider that is not \
             associated with the cluster.",
        );
    }
    let twice = |(at, name)| names().take(at).any(|one: &str| one == name);
    if names().enumerate().any(twice) {
        return invalid("The capacity provider strategy cannot contain duplicates.");
    }
    if names().any(is_fargate) && !names().all(is_fargate) {
        return invalid(
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto \
             Scaling groups and Fargate providers. Specify one or the other and try again.",
        );
    }
    let with_base = strategy.iter().filter(|item| item.base.unwrap_or(0) > 0);
    if with_base.count() > 1 {
        return invalid(
            "Only one capacity provider in a capacity provider strategy can have a base defined.",
        );
    }
    Ok(())
}

fn invalid(message: &str) -> Result<()> {
    Err(Error::InvalidParameter(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, base: i32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            weight: Some(1),
            base: Some(base),
        }
    }

    #[test]
    fn strategies_by_the_rules() {
        let cluster = ["FARGATE", "FARGATE_SPOT", "a", "b"].map(str::to_owned);
        let check = |items: &[_]| check_strategy(items, &cluster).map_err(|e| e.to_string());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[item("a", 1), item("b", 0)]), Ok(()));
        assert_eq!(
            check(&[item("FARGATE", 1), item("FARGATE_SPOT", 0)]),
            Ok(())
        );
        let many: Vec<_> = (0..21).map(|number| item(&number.to_string(), 0)).collect();
        for (items, start) in [
            (
                vec![item("c", 0)],
                "The capacity provider strategy cannot contain a capacity",
            ),
            (
                vec![item("a", 0), item("a", 0)],
                "The capacity provider strategy cannot contain dup",
            ),
            (
                vec![item("a", 0), item("FARGATE", 0)],
                "A capacity provider strategy cannot",
            ),
            (
                vec![item("a", 1), item("b", 1)],
                "Only one capacity provider",
            ),
            (
                many,
                "The maximum number of capacity providers per capacity provider strategy",
            ),
        ] {
            let message = check(&items).expect_err("refused");
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn providers_of_a_cluster() {
        let names = |count| {
            (0..count)
                .map(|number: i32| number.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(check_providers(&names(20)), Ok(()));
        assert!(check_providers(&names(21)).is_err());
        assert!(check_providers(&["a".to_owned(), "a".to_owned()]).is_err());
    }
}
