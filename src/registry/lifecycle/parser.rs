//! PURE: reads a lifecycle policy and checks its rules together.

use crate::lifecycle::policy::{
    LifecyclePolicy, LifecyclePolicyError, Rule, StorageClass, TagSelection,
};
use crate::lifecycle::schema;

impl LifecyclePolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first rule of the grammar that the text breaks.
    pub fn parse(text: &str) -> Result<Self, LifecyclePolicyError> {
        let mut rules = schema::rules(text)?;
        rules.sort_by_key(|rule| rule.priority);
        check_together(&rules)?;
        Ok(Self::of_checked(rules))
    }
}

/// Checks what concerns several rules, which are sorted by priority.
fn check_together(rules: &[Rule]) -> Result<(), LifecyclePolicyError> {
    let fail = |message: &str| Err(LifecyclePolicyError(message.to_owned()));
    for pair in rules.windows(2) {
        if let [first, second] = pair
            && first.priority == second.priority
        {
            let priority = first.priority;
            return fail(&format!(
                "Rule priorities must be unique: {priority} is used by more than one rule."
            ));
        }
    }
    for class in [StorageClass::Standard, StorageClass::Archive] {
        let rules: Vec<&Rule> = rules
            .iter()
            .filter(|rule| rule.criterion.storage_class() == class)
            .collect();
        let untagged = |rule: &&&Rule| rule.tags == TagSelection::Untagged;
        if rules.iter().filter(untagged).count() > 1 {
            return fail("Only one rule can select Untagged images per storage class.");
        }
        if let Some((_, but_last)) = rules.split_last()
            && but_last.iter().any(|rule| rule.tags == TagSelection::Any)
        {
            return fail("Rule for tagStatus=ANY must have the lowest priority per storage class");
        }
        for (index, rule) in rules.iter().enumerate() {
            if rules[..index]
                .iter()
                .any(|other| same_list(&other.tags, &rule.tags))
            {
                return fail(
                    "Rules must select unique sets of tag prefixes or tag patterns per storage \
                     class.",
                );
            }
        }
    }
    Ok(())
}

/// Whether both list the same prefixes, or patterns, in whatever order.
fn same_list(one: &TagSelection, other: &TagSelection) -> bool {
    let same = |one: &[String], other: &[String]| {
        one.iter().all(|entry| other.contains(entry))
            && other.iter().all(|entry| one.contains(entry))
    };
    match (one, other) {
        (TagSelection::Prefixes(one), TagSelection::Prefixes(other))
        | (TagSelection::Patterns(one), TagSelection::Patterns(other)) => same(one, other),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
