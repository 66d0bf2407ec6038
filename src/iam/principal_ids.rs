//! Unique ids in place of the user ARNs that a resource policy names, so that a user created under
//! the name of a deleted one does not inherit what policies allowed the other.
//!
//! A policy is stored with unique ids and shown with ARNs: the id of a user that was deleted stays
//! visible as the id. Source: IAM JSON policy elements reference, "Principal" ("when you save the
//! policy, IAM transforms the ARN into the principal's unique ID").

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_db::Tx;

use crate::error::{Error, PolicyError};
use crate::principal::UserName;
use crate::store;
use crate::users::Users;

/// Most distinct users that one policy may name, so that storing or showing it takes few look-ups.
/// A policy of 10,240 characters holds about 200 ARNs.
const MAX_PRINCIPALS: usize = 256;

impl Users {
    /// Replaces the ARNs of users within the `Principal` elements of a valid resource policy by
    /// unique ids. The rest of the text stays as it is.
    ///
    /// # Errors
    /// [`PolicyError::PrincipalNotFound`] for a user that does not exist.
    pub(super) async fn bind_principals(&self, policy: &str) -> Result<String, Error> {
        self.replace_principals(policy, |tx, principal| {
            let Some(user) = user_of(principal) else {
                return Ok(None);
            };
            let found = store::users::find(tx, user.account, user.name)?
                .map(|row| row.user)
                .filter(|row| row.arn(user.account).as_str() == principal);
            let missing = || PolicyError::PrincipalNotFound(principal.to_owned());
            Ok(Some(found.ok_or_else(missing)?.id))
        })
        .await
    }

    /// Replaces the unique ids of users within the `Principal` elements of a stored policy by ARNs.
    /// The ids of deleted users stay.
    pub(super) async fn show_principals(&self, policy: &str) -> Result<String, Error> {
        self.replace_principals(policy, |tx, principal| {
            if !principal.starts_with(UserName::ID_PREFIX) {
                return Ok(None);
            }
            Ok(store::users::arn_of(tx, principal)?)
        })
        .await
    }

    /// Applies `replacement` to each distinct principal, all in one read.
    async fn replace_principals(
        &self,
        policy: &str,
        replacement: impl Fn(&mut Tx<'_>, &str) -> Result<Option<String>, Error> + Send + 'static,
    ) -> Result<String, Error> {
        let found = principals(policy).map_err(|error| PolicyError::Json(error.to_string()))?;
        let names: BTreeSet<String> = found.iter().map(|(_, name)| name.to_string()).collect();
        if names.is_empty() {
            return Ok(policy.to_owned());
        }
        if names.len() > MAX_PRINCIPALS {
            return Err(Error::LimitExceeded {
                what: "principals",
                limit: MAX_PRINCIPALS,
            });
        }
        let replacements: BTreeMap<String, String> = self
            .db
            .read(move |tx| -> Result<_, Error> {
                let mut replacements = BTreeMap::new();
                for name in &names {
                    if let Some(new) = replacement(tx, name)? {
                        replacements.insert(name.clone(), new);
                    }
                }
                Ok(replacements)
            })
            .await?;
        Ok(rewritten(policy, &found, &replacements))
    }
}

/// A user named by its ARN.
struct NamedUser<'a> {
    account: AccountId,
    name: &'a str,
}

fn user_of(principal: &str) -> Option<NamedUser<'_>> {
    let arn: Arn = principal.parse().ok()?;
    let is_user = arn.service() == "iam" && arn.resource().starts_with("user/");
    Some(NamedUser {
        account: arn.account_id().filter(|_| is_user)?,
        name: principal.rsplit('/').next()?,
    })
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
