//! The clusters that this host joins as a container instance.

use std::collections::BTreeSet;
use std::str::FromStr;

/// Longest name of a cluster (ECS API reference, `CreateCluster`).
const MAX_NAME: usize = 255;

/// The clusters that this host joins as a container instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalClusters {
    All,
    Named(BTreeSet<String>),
    None,
}

impl LocalClusters {
    /// Whether this host joins the cluster of this name.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
            Self::None => false,
        }
    }
}

impl FromStr for LocalClusters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let is_name = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed)
        };
        let names = text.split(',').map(str::trim);
        let names = names.map(|name| {
            let message = || format!("`{name}` is not the name of a cluster");
            is_name(name).then(|| name.to_owned()).ok_or_else(message)
        });
        names.collect::<Result<_, _>>().map(Self::Named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_all_none_or_named() {
        let parse = |text: &str| text.parse::<LocalClusters>();
        assert!(parse("all").expect("valid").includes("any"));
        assert!(!parse("none").expect("valid").includes("default"));
        let named = parse("demo, test_2").expect("valid");
        assert!(named.includes("test_2") && !named.includes("default"));
        assert!(parse("a,,b").is_err() && parse("a/b").is_err() && parse("").is_err());
    }
}
