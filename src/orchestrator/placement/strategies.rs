//! Placement strategies: by what instances are ranked. PURE.

use crate::model::{PlacementStrategy, PlacementStrategyType};
use crate::placement::node::ZONE;

/// Most strategies of a task (ECS API reference, `RunTask`).
pub(super) const MAX_STRATEGIES: usize = 5;
/// The fields that spread tasks among instances.
const INSTANCE: &str = "instanceId";
const HOST: &str = "host";

/// Why a list of strategies is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    #[error("at most {MAX_STRATEGIES} placement strategies can be specified")]
    TooMany,
    #[error("a placement strategy needs a type")]
    NoType,
    #[error("the placement strategy spread needs a field")]
    NoField,
    #[error("'{0}' is not a field of the placement strategy {1}")]
    Field(String, PlacementStrategyType),
}

/// Strategies in their order. Each narrows the candidates to those that are best by it; of those
/// left at last, any is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strategies(Vec<Strategy>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Strategy {
    /// The value with the fewest tasks of the group. Instances without the attribute have one value
    /// together.
    SpreadAttribute(String),
    /// The instance with the fewest tasks of the group.
    SpreadInstance,
    /// The instance with the least CPU left.
    BinpackCpu,
    BinpackMemory,
    Random,
}

impl Default for Strategies {
    /// Those of tasks that name none: the zone, then the instance with the fewest tasks of the
    /// group.
    fn default() -> Self {
        let zone = Strategy::SpreadAttribute(ZONE.to_owned());
        Self(vec![zone, Strategy::SpreadInstance])
    }
}

impl Strategies {
    /// The strategies of a request; the default ones where it names none.
    ///
    /// # Errors
    /// [`StrategyError`].
    pub fn parse(given: &[PlacementStrategy]) -> Result<Self, StrategyError> {
        if given.is_empty() {
            return Ok(Self::default());
        }
        if given.len() > MAX_STRATEGIES {
            return Err(StrategyError::TooMany);
        }
        let parsed = given.iter().map(Strategy::parse);
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Strategy> {
        self.0.iter()
    }
}

/// Replaces the field `host` of `spread` by `instanceId`, which has the same effect (ECS API
/// reference, `PlacementStrategy`) and is what ECS stores and shows.
pub(crate) fn rename_host_field(strategies: &mut [PlacementStrategy]) {
    for strategy in strategies {
        let spreads = strategy.kind == Some(PlacementStrategyType::Spread);
        if spreads && strategy.field.as_deref() == Some(HOST) {
            strategy.field = Some(INSTANCE.to_owned());
        }
    }
}

impl Strategy {
    fn parse(given: &PlacementStrategy) -> Result<Self, StrategyError> {
        let kind = given.kind.ok_or(StrategyError::NoType)?;
        let field = given.field.as_deref().unwrap_or_default();
        let unknown = || StrategyError::Field(field.to_owned(), kind);
        match kind {
            PlacementStrategyType::Random => Ok(Self::Random),
            PlacementStrategyType::Binpack => match field.to_ascii_lowercase().as_str() {
                "cpu" => Ok(Self::BinpackCpu),
                "memory" => Ok(Self::BinpackMemory),
                _ => Err(unknown()),
            },
            PlacementStrategyType::Spread => match field {
                "" => Err(StrategyError::NoField),
                _ if field.eq_ignore_ascii_case(INSTANCE) || field == HOST => {
                    Ok(Self::SpreadInstance)
                }
                _ => match field.strip_prefix("attribute:") {
                    None | Some("") => Err(unknown()),
                    Some(name) => Ok(Self::SpreadAttribute(name.to_owned())),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kind: PlacementStrategyType, field: Option<&str>) -> PlacementStrategy {
        PlacementStrategy {
            kind: Some(kind),
            field: field.map(str::to_owned),
        }
    }

    #[test]
    fn fields_are_those_of_the_type() {
        use PlacementStrategyType::{Binpack, Random, Spread};
        let parse = |kind, field| Strategy::parse(&given(kind, field));
        let rack = Strategy::SpreadAttribute("rack".to_owned());
        assert_eq!(parse(Spread, Some("attribute:rack")), Ok(rack));
        assert_eq!(parse(Spread, Some("host")), Ok(Strategy::SpreadInstance));
        let instance = parse(Spread, Some("instanceId"));
        assert_eq!(instance, Ok(Strategy::SpreadInstance));
        assert_eq!(parse(Binpack, Some("CPU")), Ok(Strategy::BinpackCpu));
        assert_eq!(parse(Binpack, Some("memory")), Ok(Strategy::BinpackMemory));
        assert_eq!(parse(Random, None), Ok(Strategy::Random));
        assert_eq!(parse(Spread, None), Err(StrategyError::NoField));
        let error = StrategyError::Field("disk".to_owned(), Binpack);
        assert_eq!(parse(Binpack, Some("disk")), Err(error));
        let error = StrategyError::Field("attribute:".to_owned(), Spread);
        assert_eq!(parse(Spread, Some("attribute:")), Err(error));
    }

    #[test]
    fn a_list_is_bounded_and_has_a_default() {
        assert_eq!(Strategies::parse(&[]), Ok(Strategies::default()));
        let six = vec![given(PlacementStrategyType::Random, None); 6];
        assert_eq!(Strategies::parse(&six), Err(StrategyError::TooMany));
        let nothing = [PlacementStrategy::default()];
        assert_eq!(Strategies::parse(&nothing), Err(StrategyError::NoType));
    }
}
