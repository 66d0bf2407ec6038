//! How requests name parameters. PURE.
//!
//! Source: Systems Manager API reference, `PutParameter`, `GetParameter`.

use wharfinger_aws::Arn;

use crate::error::Error;
use crate::model::{SecretsHome, parameter_arn};

const MAX_NAME: usize = 1011;
/// Most levels of a hierarchy.
const MAX_LEVELS: usize = 15;

/// Which version of a parameter a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    Newest,
    Version(i64),
    /// A label. This server attaches none.
    Label(String),
}

/// A parameter as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterRef {
    pub home: SecretsHome,
    pub name: String,
    /// The name that the parameter may have instead: an ARN does not say whether its only level
    /// starts with a slash.
    other_name: Option<String>,
    pub selector: Selector,
}

impl ParameterRef {
    /// The newest version of the parameter of this name.
    #[must_use]
    pub fn named(home: &SecretsHome, name: &str) -> Self {
        Self {
            home: home.clone(),
            name: name.to_owned(),
            other_name: None,
            selector: Selector::Newest,
        }
    }

    /// Parses `name`, `name:version`, `name:label`, and an ARN of any of these.
    ///
    /// # Errors
    /// [`Error::NoSuchParameter`] for an ARN of another account, region or service.
    pub fn parse(home: &SecretsHome, text: &str) -> Result<Self, Error> {
        let missing = || Error::NoSuchParameter(text.to_owned());
        let (rest, is_arn) = if text.starts_with("arn:") {
            let arn: Arn = text.parse().map_err(|_| missing())?;
            let path = arn.resource().strip_prefix("parameter");
            let path =
                path.filter(|path| path.starts_with('/') && home.arn("ssm", arn.resource()) == arn);
            (path.ok_or_else(missing)?.to_owned(), true)
        } else {
            (text.to_owned(), false)
        };
        let (name, selector) = rest.split_once(':').unwrap_or((&rest, ""));
        // The ARN of a name without hierarchy has a slash that the name lacks.
        let flat = same_arn(name).filter(|_| is_arn);
        let digits = !selector.is_empty() && selector.bytes().all(|byte| byte.is_ascii_digit());
        let selector = match selector {
            "" => Selector::Newest,
            _ if digits => Selector::Version(selector.parse().map_err(|_| missing())?),
            label => Selector::Label(label.to_owned()),
        };
        Ok(Self {
            home: home.clone(),
            other_name: flat.as_ref().map(|_| name.to_owned()),
            name: flat.unwrap_or_else(|| name.to_owned()),
            selector,
        })
    }

    /// The names that the parameter can have, in the order in which they are looked up.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.other_name)
            .map(String::as_str)
    }

    /// The ARN of the parameter, whether it exists or not.
    pub fn arn(&self) -> Arn {
        parameter_arn(&self.home, &self.name)
    }
}

/// The other name with the same ARN: `db` and `/db` have one.
pub(crate) fn same_arn(name: &str) -> Option<String> {
    let flat = name.strip_prefix('/');
    let only_level = flat.unwrap_or(name);
    if only_level.contains('/') {
        return None;
    }
    Some(match flat {
        Some(flat) => flat.to_owned(),
        None => format!("/{name}"),
    })
}

/// Checks the name of a new parameter.
///
/// # Errors
/// [`Error::InvalidParameter`], [`Error::HierarchyLevels`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let invalid = |message: &str| Err(Error::InvalidParameter(message.to_owned()));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        return invalid(
            "Parameter name: can't be empty or longer than 1011 characters, and can only contain \
             letters, numbers and the symbols .-_/",
        );
    }
    if name.contains('/') && !name.starts_with('/') {
        return invalid(
            "Parameter name must be a fully qualified name: a hierarchy starts with a slash.",
        );
    }
    if name.contains("//") || (name.len() > 1 && name.ends_with('/')) || name == "/" {
        return invalid("Parameter name: can't have empty levels.");
    }
    let first = name.trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        return invalid(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
        );
    }
    let levels = name.matches('/').count();
    if levels > MAX_LEVELS {
        return Err(Error::HierarchyLevels(format!(
            "The hierarchy of {name} has {levels} levels, and {MAX_LEVELS} is the most."
        )));
    }
    Ok(())
}

/// Whether a name is below a path: directly, or where `recursive` on any level.
pub fn is_below(path: &str, name: &str, recursive: bool) -> bool {
    let path = path.trim_end_matches('/');
    let rest = name
        .strip_prefix(path)
        .and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| recursive || !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> SecretsHome {
        SecretsHome {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    #[test]
    fn parameters_are_named_with_or_without_version() {
        let parse = |text: &str| {
            let found = ParameterRef::parse(&home(), text).expect("a name");
            (found.name, found.selector)
        };
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter";
        assert_eq!(parse("db"), ("db".to_owned(), Selector::Newest));
        assert_eq!(parse("/a/b:3"), ("/a/b".to_owned(), Selector::Version(3)));
        assert_eq!(
            parse("db:live"),
            ("db".to_owned(), Selector::Label("live".to_owned()))
        );
        let names = |text: &str| -> Vec<String> {
            let found = ParameterRef::parse(&home(), text).expect("a name");
            found.names().map(str::to_owned).collect()
        };
        assert_eq!(names(&format!("{arn}/db:2")), ["db", "/db"]);
        assert_eq!(names(&format!("{arn}/a/b")), ["/a/b"]);
        assert_eq!(names("/db"), ["/db"]);
        assert_eq!(parse(&format!("{arn}/db")).0, "db");
        assert_eq!(parse(&format!("{arn}/a/b")).0, "/a/b");
        assert_eq!(parse(&format!("{arn}/a/b:7")).1, Selector::Version(7));
        for foreign in [
            "arn:aws:ssm:us-east-1:999999999999:parameter/db",
            "arn:aws:s3:::db",
            "arn:",
            "db:99999999999999999999",
        ] {
            assert!(ParameterRef::parse(&home(), foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn names_of_new_parameters_have_rules() {
        for good in ["db", "/a/b.c_d-e", "/one"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a/b", "/a//b", "/a/", "/", "a b", "AWS.x", "/ssm/x", "a:1",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"/x".repeat(15)).is_ok());
        assert!(matches!(
            check_name(&"/x".repeat(16)),
            Err(Error::HierarchyLevels(_))
        ));
    }

    #[test]
    fn paths_hold_their_levels() {
        assert!(is_below("/a", "/a/b", false));
        assert!(is_below("/a/", "/a/b", false));
        assert!(!is_below("/a", "/a/b/c", false));
        assert!(is_below("/a", "/a/b/c", true));
        assert!(is_below("/", "/a", false));
        assert!(!is_below("/", "a", true));
        assert!(!is_below("/a", "/ab", true));
        assert!(!is_below("/a", "/a", true));
    }
}
