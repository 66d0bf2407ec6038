//! Unique ids in place of the ARNs of users, roles and sessions of roles that a resource policy or
//! a trust policy names, so that a user or role created under the name of a deleted one does not
//! inherit what policies allowed the other.
//!
//! A policy is stored with unique ids and shown with ARNs: the id of a user or role that was
//! deleted stays visible as the id. Source: IAM JSON policy elements reference, "Principal" ("when
//! you save the policy, IAM transforms the ARN into the principal's unique ID").

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_db::Tx;

use crate::entity::{EntityKind, EntityName};
use crate::error::{Error, PolicyError};
use crate::principal::RoleName;
use crate::store;

/// Most distinct principals that one policy may name, so that storing or showing it takes few
/// look-ups.
/// A policy of 10,240 characters holds about 200 ARNs.
const MAX_PRINCIPALS: usize = 256;

/// Replaces the ARNs of users, roles and sessions of roles within the `Principal` elements of a
/// valid resource policy by unique ids. The rest of the text stays as it is.
///
/// # Errors
/// [`PolicyError::PrincipalNotFound`] for a user or role that does not exist, also by its id.
pub(super) fn bind(tx: &mut Tx<'_>, policy: &str) -> Result<String, Error> {
    replace_principals(policy, |principal| {
        let missing = || PolicyError::PrincipalNotFound(principal.to_owned());
        let Some(named) = NamedEntity::of(principal) else {
            if is_unique_id(principal) && arn_of_id(tx, principal)?.is_none() {
                return Err(missing().into());
            }
            return Ok(None);
        };
        let found = store::entities::find(tx, named.account, named.kind, named.name)?
            .map(|row| row.name)
            .filter(|name| named.is(name));
        Ok(Some(named.bound(found.ok_or_else(missing)?.id)))
    })
}

/// Replaces the unique ids of users, roles and sessions of roles within the `Principal` elements of
/// a stored policy by ARNs. The ids of deleted users and roles stay.
pub(super) fn show(tx: &mut Tx<'_>, policy: &str) -> Result<String, Error> {
    replace_principals(policy, |principal| {
        if is_unique_id(principal) {
            arn_of_id(tx, principal)
        } else {
            Ok(None)
        }
    })
}

/// Whether a principal is the unique id of a user or role, with the name of a session or without.
fn is_unique_id(principal: &str) -> bool {
    let starts = |kind: &EntityKind| principal.starts_with(kind.id_prefix());
    [EntityKind::User, EntityKind::Role].iter().any(starts)
}

/// The ARN of the user, role or session with this unique id; `None` after it was deleted.
fn arn_of_id(tx: &mut Tx<'_>, principal: &str) -> Result<Option<String>, Error> {
    let (id, session) = match principal.split_once(':') {
        Some((id, session)) => (id, Some(session)),
        None => (principal, None),
    };
    let Some((account, name)) = store::entities::place_of(tx, id)? else {
        return Ok(None);
    };
    let account = account
        .parse()
        .map_err(|_| Error::Corrupt("entities.account".to_owned()))?;
    let arn = match (session, name.kind) {
        (None, EntityKind::User | EntityKind::Role) => name.arn(account),
        (Some(session), EntityKind::Role) => RoleName::from(name).session_arn(account, session),
        _ => return Ok(None),
    };
    Ok(Some(arn.to_string()))
}

/// Applies `replacement` to each distinct principal of the policy.
fn replace_principals(
    policy: &str,
    mut replacement: impl FnMut(&str) -> Result<Option<String>, Error>,
) -> Result<String, Error> {
    let found = principals(policy).map_err(|error| PolicyError::Json(error.to_string()))?;
    let names: BTreeSet<&str> = found.iter().map(|(_, name)| name.as_ref()).collect();
    if names.len() > MAX_PRINCIPALS {
        return Err(Error::LimitExceeded {
            what: "principals",
            limit: MAX_PRINCIPALS,
        });
    }
    let mut replacements = BTreeMap::new();
    for name in names {
        if let Some(new) = replacement(name)? {
            replacements.insert(name.to_owned(), new);
        }
    }
    Ok(rewritten(policy, &found, &replacements))
}

/// A user, a role or a session of a role named by its ARN.
struct NamedEntity<'a> {
    arn: &'a str,
    account: AccountId,
    kind: EntityKind,
    name: &'a str,
    session: Option<&'a str>,
}

impl<'a> NamedEntity<'a> {
    fn of(principal: &'a str) -> Option<Self> {
        let arn: Arn = principal.parse().ok()?;
        let account = arn.account_id()?;
        let (_, resource) = principal.rsplit_once(':')?;
        let (kind, rest) = resource.split_once('/')?;
        let (kind, name, session) = match (arn.service(), kind) {
            ("iam", "user") => (EntityKind::User, rest.rsplit('/').next()?, None),
            ("iam", "role") => (EntityKind::Role, rest.rsplit('/').next()?, None),
            ("sts", "assumed-role") => {
                let (name, session) = rest.split_once('/')?;
                (EntityKind::Role, name, Some(session))
            }
            _ => return None,
        };
        Some(Self {
            arn: principal,
            account,
            kind,
            name,
            session,
        })
    }

    /// Whether it names this entity: names are found whatever their case, and an ARN names an
    /// entity to the letter.
    fn is(&self, name: &EntityName) -> bool {
        let arn = match self.session {
            Some(session) => RoleName::from(name.clone()).session_arn(self.account, session),
            None => name.arn(self.account),
        };
        arn.as_str() == self.arn
    }

    /// The principal as it is stored: the unique id, and the name of the session after a colon.
    fn bound(&self, id: String) -> String {
        match self.session {
            Some(session) => format!("{id}:{session}"),
            None => id,
        }
    }
}

#[derive(Deserialize)]
struct RawDocument<'a> {
    #[serde(rename = "Statement", borrow)]
    statement: &'a RawValue,
}

#[derive(Deserialize)]
struct RawStatement<'a> {
    #[serde(rename = "Principal", borrow)]
    principal: Option<&'a RawValue>,
    #[serde(rename = "NotPrincipal", borrow)]
    not_principal: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawPrincipal<'a> {
    #[serde(rename = "AWS", borrow)]
    aws: Option<&'a RawValue>,
}

type Found<'a> = Vec<(&'a RawValue, Cow<'a, str>)>;

/// The `AWS` principals of a policy, each with its text in the document.
fn principals(policy: &str) -> Result<Found<'_>, serde_json::Error> {
    let document: RawDocument<'_> = serde_json::from_str(policy)?;
    let mut found = Vec::new();
    for statement in one_or_many(document.statement)? {
        let statement: RawStatement<'_> = serde_json::from_str(statement.get())?;
        let elements = [statement.principal, statement.not_principal];
        // `"Principal": "*"` names nobody.
        let named = |element: &&RawValue| element.get().starts_with('{');
        for element in elements.into_iter().flatten().filter(named) {
            let principal: RawPrincipal<'_> = serde_json::from_str(element.get())?;
            for name in principal.aws.map_or(Ok(Vec::new()), one_or_many)? {
                found.push((name, serde_json::from_str(name.get())?));
            }
        }
    }
    Ok(found)
}

fn one_or_many(value: &RawValue) -> Result<Vec<&RawValue>, serde_json::Error> {
    if value.get().starts_with('[') {
        serde_json::from_str(value.get())
    } else {
        Ok(vec![value])
    }
}

/// The policy with each found principal replaced where there is a replacement.
fn rewritten(policy: &str, found: &Found<'_>, replacements: &BTreeMap<String, String>) -> String {
    let mut text = String::with_capacity(policy.len());
    let mut copied = 0;
    let mut edits: Vec<_> = found
        .iter()
        .filter_map(|(raw, name)| {
            // The raw values borrow from the policy, so their addresses give their positions.
            let start = raw.get().as_ptr().addr() - policy.as_ptr().addr();
            let replacement = replacements.get(name.as_ref())?;
            Some((start, raw.get().len(), replacement))
        })
        .collect();
    edits.sort_unstable();
    for (start, length, replacement) in edits {
        text.push_str(&policy[copied..start]);
        // ARNs and ids hold no character that JSON escapes.
        text.extend(["\"", replacement, "\""]);
        copied = start + length;
    }
    text.push_str(&policy[copied..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_principals_are_replaced_and_the_layout_is_kept() {
        let ann = "arn:aws:iam::123456789012:user/ann";
        let policy = format!(
            r#"{{ "Statement" : [
                {{"Effect":"Allow", "Action":"ecr:*", "Principal": {{"AWS" : "{ann}"}},
                  "Condition": {{"StringEquals": {{"aws:PrincipalArn": "{ann}"}}}}}},
                {{"Effect":"Deny", "Action":"*", "NotPrincipal": {{"Service":"{ann}",
                  "AWS":["123456789012", "arn:aws:iam::123456789012:user\/ann"]}}}},
                {{"Effect":"Allow", "Action":"*", "Principal":"*"}}
            ]}}"#
        );
        let found = principals(&policy).expect("a policy");
        assert_eq!(found.len(), 3);
        let replacements = BTreeMap::from([(ann.to_owned(), "AIDA1".to_owned())]);
        let expected = policy
            .replacen(ann, "AIDA1", 1)
            .replace("arn:aws:iam::123456789012:user\\/ann", "AIDA1");
        assert_eq!(rewritten(&policy, &found, &replacements), expected);
        assert_eq!(rewritten(&policy, &found, &BTreeMap::new()), policy);
    }

    #[test]
    fn a_single_statement_is_read_like_a_list() {
        let policy = r#"{"Statement":{"Principal":{"AWS":["AIDA1"]}}}"#;
        assert_eq!(principals(policy).expect("a policy").len(), 1);
    }
}
