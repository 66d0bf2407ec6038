//! Which capacity provider of a strategy the next task belongs to. PURE.
//!
//! Source: ECS API reference, `CapacityProviderStrategyItem`.

use std::collections::BTreeMap;

use crate::model::CapacityProviderStrategyItem;

/// The provider of the next task, where `counts` tasks of the same service or request belong to
/// providers already: first the one whose base is not reached, then the one that is furthest from
/// its share. A provider without weight gets its base only. `None` where no provider has weight
/// and every base is reached.
pub fn next_provider<'a>(
    strategy: &'a [CapacityProviderStrategyItem],
    counts: &BTreeMap<String, i64>,
) -> Option<&'a str> {
    let count = |item: &CapacityProviderStrategyItem| {
        let count = counts.get(&item.capacity_provider);
        count.copied().unwrap_or_default()
    };
    let base = |item: &CapacityProviderStrategyItem| i64::from(item.base.unwrap_or_default());
    let weight = |item: &CapacityProviderStrategyItem| i64::from(item.weight.unwrap_or_default());
    let short = strategy.iter().find(|item| count(item) < base(item));
    let by_weight = strategy.iter().filter(|item| weight(item) > 0);
    // The one that would have the least tasks beyond its base for its weight, the task included.
    let furthest = by_weight.min_by(|one, other| {
        let tasks = |item| count(item) - base(item) + 1;
        (tasks(one) * weight(other)).cmp(&(tasks(other) * weight(one)))
    });
    short
        .or(furthest)
        .map(|item| item.capacity_provider.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(items: &[(&str, i32, i32)], tasks: usize) -> BTreeMap<String, i64> {
        let strategy: Vec<_> = items
            .iter()
            .map(|(name, base, weight)| CapacityProviderStrategyItem {
                capacity_provider: (*name).to_owned(),
                base: Some(*base),
                weight: Some(*weight),
            })
            .collect();
        let mut counts = BTreeMap::new();
        for _ in 0..tasks {
            if let Some(provider) = next_provider(&strategy, &counts) {
                *counts.entry(provider.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    fn counts(expected: &[(&str, i64)]) -> BTreeMap<String, i64> {
        let pairs = expected.iter();
        pairs
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn bases_come_first_and_weights_share_the_rest() {
        let items = [("a", 2, 1), ("b", 0, 3)];
        assert_eq!(split(&items, 2), counts(&[("a", 2)]));
        assert_eq!(split(&items, 10), counts(&[("a", 4), ("b", 6)]));
        assert_eq!(
            split(&[("a", 0, 1), ("b", 0, 1)], 2),
            counts(&[("a", 1), ("b", 1)])
        );
    }

    #[test]
    fn a_provider_without_weight_gets_its_base_only() {
        let items = [("a", 1, 0), ("b", 0, 1)];
        assert_eq!(split(&items, 5), counts(&[("a", 1), ("b", 4)]));
        assert_eq!(split(&[("a", 3, 0)], 5), counts(&[("a", 3)]));
    }
}
