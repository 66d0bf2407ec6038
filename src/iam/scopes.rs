//! PURE: scopes of registry Bearer tokens, such as `repository:team/web:pull,push`.
//!
//! Source: distribution, "Token Scope Documentation".

use std::fmt;
use std::str::FromStr;

use wharfinger_oci::RepositoryName;

/// One action of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeAction {
    Pull,
    Push,
    Delete,
    /// `*`: everything that the policies allow.
    All,
}

impl ScopeAction {
    const NAMES: [(Self, &str); 4] = [
        (Self::Pull, "pull"),
        (Self::Push, "push"),
        (Self::Delete, "delete"),
        (Self::All, "*"),
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scope actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ScopeActions(u8);

impl ScopeActions {
    #[must_use]
    pub fn of(actions: impl IntoIterator<Item = ScopeAction>) -> Self {
        Self(
            actions
                .into_iter()
                .fold(0, |bits, action| bits | action.bit()),
        )
    }

    /// Whether the set contains the action, by name or by `*`.
    #[must_use]
    pub const fn contains(self, action: ScopeAction) -> bool {
        self.0 & (action.bit() | ScopeAction::All.bit()) != 0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the actions as they are written, `*` for [`ScopeAction::All`].
    pub fn iter(self) -> impl Iterator<Item = ScopeAction> {
        ScopeAction::NAMES
            .into_iter()
            .map(|(action, _)| action)
            .filter(move |action| self.0 & action.bit() != 0)
    }
}

/// What a scope applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeTarget {
    Repository(RepositoryName),
    /// `registry:catalog:*`: the list of repositories.
    Catalog,
}

/// One entry of a token's `scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenScope {
    pub target: ScopeTarget,
    pub actions: ScopeActions,
}

/// Why a text is not a scope, or not a list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a scope of this registry. Token endpoints ignore such scopes.
    #[error("a scope is written repository:NAME:pull,push,delete or registry:catalog:*")]
    Malformed,
    #[error("a token has at most {max} scopes", max = TokenScopes::MAX)]
    TooMany,
}

impl FromStr for TokenScope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (kind, rest) = text.split_once(':').ok_or(ScopeError::Malformed)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError::Malformed)?;
        // A resource class, as in `repository(plugin)`, changes nothing here.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        let target = match (kind, name) {
            ("repository", name) => {
                ScopeTarget::Repository(name.parse().map_err(|_| ScopeError::Malformed)?)
            }
            ("registry", "catalog") => ScopeTarget::Catalog,
            _ => return Err(ScopeError::Malformed),
        };
        let known = |word: &str| {
            ScopeAction::NAMES
                .into_iter()
                .find(|(_, name)| *name == word)
                .map(|(action, _)| action)
        };
        Ok(Self {
            target,
            actions: ScopeActions::of(actions.split(',').filter_map(known)),
        })
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            ScopeTarget::Repository(name) => write!(formatter, "repository:{}:", name.as_str())?,
            ScopeTarget::Catalog => formatter.write_str("registry:catalog:")?,
        }
        let mut first = true;
        for (action, name) in ScopeAction::NAMES {
            if self.actions.0 & action.bit() != 0 {
                formatter.write_str(if first { "" } else { "," })?;
                formatter.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// The scopes of one token.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TokenScopes(Vec<TokenScope>);

impl TokenScopes {
    /// Most scopes that one token carries: a mount names two repositories, and clients that copy
    /// many images request a few dozen.
    pub const MAX: usize = 32;

    /// Joins scopes for the same target and leaves out those without actions.
    ///
    /// # Errors
    /// [`ScopeError::TooMany`] for more than [`TokenScopes::MAX`] targets.
    pub fn of(scopes: impl IntoIterator<Item = TokenScope>) -> Result<Self, ScopeError> {
        let mut kept: Vec<TokenScope> = Vec::new();
        for scope in scopes {
            if let Some(same) = kept.iter_mut().find(|kept| kept.target == scope.target) {
                same.actions.0 |= scope.actions.0;
            } else if !scope.actions.is_empty() {
                if kept.len() == Self::MAX {
                    return Err(ScopeError::TooMany);
                }
                kept.push(scope);
            }
        }
        Ok(Self(kept))
    }

    /// Parses scopes separated by spaces, as `scope` parameters and tokens hold them. Words that
    /// are not scopes are ignored.
    ///
    /// # Errors
    /// [`ScopeError::TooMany`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        Self::of(
            text.split_ascii_whitespace()
                .filter_map(|word| word.parse().ok()),
        )
    }

    #[must_use]
    pub fn allows(&self, repository: &RepositoryName, action: ScopeAction) -> bool {
        let named = |scope: &&TokenScope| match &scope.target {
            ScopeTarget::Repository(name) => name == repository,
            ScopeTarget::Catalog => false,
        };
        self.0
            .iter()
            .find(named)
            .is_some_and(|scope| scope.actions.contains(action))
    }

    #[must_use]
    pub fn allows_catalog(&self) -> bool {
        self.0.iter().any(|scope| {
            scope.target == ScopeTarget::Catalog && scope.actions.contains(ScopeAction::All)
        })
    }

    #[must_use]
    pub fn as_slice(&self) -> &[TokenScope] {
        &self.0
    }
}

impl fmt::Display for TokenScopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            formatter.write_str(if at == 0 { "" } else { " " })?;
            scope.fmt(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_are_parsed_joined_and_printed() {
        let scopes = TokenScopes::parse(
            "repository:team/web:pull repository:team/web:push,fly repository:a::b junk \
             registry:catalog:* repository:xx:",
        )
        .expect("few scopes");
        assert_eq!(
            scopes.to_string(),
            "repository:team/web:pull,push registry:catalog:*"
        );
        let web: RepositoryName = "team/web".parse().expect("a name");
        let other: RepositoryName = "team/other".parse().expect("a name");
        assert!(scopes.allows(&web, ScopeAction::Push));
        assert!(!scopes.allows(&web, ScopeAction::Delete));
        assert!(!scopes.allows(&other, ScopeAction::Pull));
        assert!(scopes.allows_catalog());
    }

    #[test]
    fn a_star_allows_every_action_and_a_resource_class_changes_nothing() {
        let web: RepositoryName = "team/web".parse().expect("a name");
        for (text, action) in [
            ("repository:team/web:*", ScopeAction::Delete),
            ("repository(plugin):team/web:pull", ScopeAction::Pull),
        ] {
            let scopes = TokenScopes::parse(text).expect("one scope");
            assert!(scopes.allows(&web, action), "{text}");
        }
    }

    #[test]
    fn more_scopes_than_a_token_carries_are_an_error() {
        let scopes = |count| {
            let scopes: Vec<_> = (0..count)
                .map(|n| format!("repository:r{n}:pull"))
                .collect();
            TokenScopes::parse(&scopes.join(" ")).map(|scopes| scopes.as_slice().len())
        };
        assert_eq!(scopes(TokenScopes::MAX), Ok(TokenScopes::MAX));
        assert_eq!(scopes(TokenScopes::MAX + 1), Err(ScopeError::TooMany));
    }

    proptest! {
        #[test]
        fn printed_scopes_parse_to_the_same(
            text in "(repository:[a-c]{2}:(pull|push|delete|\\*|x)(,(pull|push))? ){0,5}|\\PC{0,60}"
        ) {
            let scopes = TokenScopes::parse(&text);
            let again = scopes.clone().and_then(|scopes| TokenScopes::parse(&scopes.to_string()));
            prop_assert_eq!(again, scopes);
        }
    }
}
