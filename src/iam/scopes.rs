//! What a registry Bearer token is limited to: `repository:team/web:pull,push` and the like. PURE.
//!
//! Source: distribution, "Token Scope Documentation".

use std::fmt;
use std::str::FromStr;

use wharfinger_oci::RepositoryName;

/// One thing that may be done within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Pull,
    Push,
    Delete,
    /// `*`: all that the policies allow.
    All,
}

impl Verb {
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

/// A set of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Verbs(u8);

impl Verbs {
    #[must_use]
    pub fn of(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self(verbs.into_iter().fold(0, |bits, verb| bits | verb.bit()))
    }

    /// Does the set hold the verb, by name or by `*`?
    #[must_use]
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (verb.bit() | Verb::All.bit()) != 0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The verbs of the set as they are written, `*` for [`Verb::All`].
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::NAMES
            .into_iter()
            .map(|(verb, _)| verb)
            .filter(move |verb| self.0 & verb.bit() != 0)
    }
}

/// What a scope speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Repository(RepositoryName),
    /// `registry:catalog:*`: the list of repositories.
    Catalog,
}

/// One entry of a token's `scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub target: Target,
    pub verbs: Verbs,
}

/// A text that is no scope of this registry; token endpoints pass over such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is written repository:NAME:pull,push,delete or registry:catalog:*")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (kind, rest) = text.split_once(':').ok_or(ScopeError)?;
        let (name, verbs) = rest.rsplit_once(':').ok_or(ScopeError)?;
        // A resource class, as in `repository(plugin)`, changes nothing here.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        let target = match (kind, name) {
            ("repository", name) => Target::Repository(name.parse().map_err(|_| ScopeError)?),
            ("registry", "catalog") => Target::Catalog,
            _ => return Err(ScopeError),
        };
        let known = |word: &str| {
            Verb::NAMES
                .into_iter()
                .find(|(_, name)| *name == word)
                .map(|(verb, _)| verb)
        };
        Ok(Self {
            target,
            verbs: Verbs::of(verbs.split(',').filter_map(known)),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Repository(name) => write!(formatter, "repository:{}:", name.as_str())?,
            Target::Catalog => formatter.write_str("registry:catalog:")?,
        }
        let mut first = true;
        for (verb, name) in Verb::NAMES {
            if self.verbs.0 & verb.bit() != 0 {
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
pub struct TokenScopes(Vec<Scope>);

impl TokenScopes {
    /// Most scopes that one token carries: a mount names two repositories; clients that copy many
    /// ask for a few dozen. Keeps tokens under the 8 KiB that clients and proxies allow a
    /// header.
    pub const MAX: usize = 32;

    /// Keeps the first [`TokenScopes::MAX`] scopes, those for the same target joined, those without
    /// verbs left out.
    #[must_use]
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut kept: Vec<Scope> = Vec::new();
        for scope in scopes {
            if let Some(same) = kept.iter_mut().find(|kept| kept.target == scope.target) {
                same.verbs.0 |= scope.verbs.0;
            } else if !scope.verbs.is_empty() && kept.len() < Self::MAX {
                kept.push(scope);
            }
        }
        Self(kept)
    }

    /// Reads scopes separated by blanks, as `scope` parameters and tokens hold them; what is no
    /// scope is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of(
            text.split_ascii_whitespace()
                .filter_map(|word| word.parse().ok()),
        )
    }

    #[must_use]
    pub fn allows(&self, repository: &RepositoryName, verb: Verb) -> bool {
        let named = |scope: &&Scope| matches!(&scope.target, Target::Repository(name) if name == repository);
        self.0
            .iter()
            .find(named)
            .is_some_and(|scope| scope.verbs.contains(verb))
    }

    #[must_use]
    pub fn allows_catalog(&self) -> bool {
        self.0
            .iter()
            .any(|scope| scope.target == Target::Catalog && scope.verbs.contains(Verb::All))
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Scope] {
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
mod laws {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_are_read_joined_and_printed() {
        let scopes = TokenScopes::parse(
            "repository:team/web:pull repository:team/web:push,fly repository:a::b junk registry:catalog:* repository:xx:",
        );
        assert_eq!(
            scopes.to_string(),
            "repository:team/web:pull,push registry:catalog:*"
        );
        let web: RepositoryName = "team/web".parse().expect("a name");
        let other: RepositoryName = "team/other".parse().expect("a name");
        assert!(
            scopes.allows(&web, Verb::Push)
                && !scopes.allows(&web, Verb::Delete)
                && !scopes.allows(&other, Verb::Pull)
        );
        assert!(scopes.allows_catalog());
        assert!(TokenScopes::parse("repository:team/web:*").allows(&web, Verb::Delete));
        assert!(TokenScopes::parse("repository(plugin):team/web:pull").allows(&web, Verb::Pull));
        assert_eq!(
            TokenScopes::parse(
                &(0..100)
                    .map(|n| format!("repository:r{n}:pull"))
                    .collect::<Vec<_>>()
                    .join(" ")
            )
            .as_slice()
            .len(),
            TokenScopes::MAX
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text in "(repository:[a-c]{2}:(pull|push|delete|\\*|x)(,(pull|push))? ){0,5}|\\PC{0,60}") {
            let scopes = TokenScopes::parse(&text);
            prop_assert_eq!(TokenScopes::parse(&scopes.to_string()), scopes);
        }
    }
}
