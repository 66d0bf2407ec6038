//! The policy documents of a request, read within bounds.

use std::sync::Arc;

use wharfinger_iam::{Grammar, NamedPolicy, Policy, PolicyError};

use crate::iam::{Result, error};

/// Most characters of all documents of a request together. Reading them takes about 5 ms.
const MAX_BYTES: usize = 128 * 1024;
/// Most documents of a request: twice the policies that an identity has at most.
const MAX_DOCUMENTS: usize = 50;

/// Reads documents and counts them.
#[derive(Default)]
pub(crate) struct Documents {
    bytes: usize,
    count: usize,
}

impl Documents {
    /// The identity policies of the member `list`, each under the name that results show.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn identity(&mut self, list: &str, texts: &[String]) -> Result<Vec<NamedPolicy>> {
        let numbered = texts.iter().enumerate();
        let policies = numbered.map(|(at, text)| {
            let name = format!("{list}.{}", at + 1);
            // Inline policies of groups are the longest that an identity has.
            let policy = self.read(&name, text, Grammar::Inline)?;
            Ok(NamedPolicy {
                name: name.into(),
                owner: None,
                policy: Arc::new(policy),
            })
        });
        policies.collect()
    }

    /// The policy of the resource: with the element `Resource`, as that of a registry, or without,
    /// as that of a repository.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn resource(&mut self, text: Option<&str>) -> Result<Option<Policy>> {
        let Some(text) = text else {
            return Ok(None);
        };
        let has_resource = Policy::parse(text, Grammar::Registry).is_ok();
        let grammar = if has_resource {
            Grammar::Registry
        } else {
            Grammar::Repository
        };
        self.read("ResourcePolicy", text, grammar).map(Some)
    }

    fn read(&mut self, name: &str, text: &str, grammar: Grammar) -> Result<Policy> {
        self.bytes += text.len();
        self.count += 1;
        if self.bytes > MAX_BYTES || self.count > MAX_DOCUMENTS {
            let message = format!(
                "The policies of the request are too large: {MAX_DOCUMENTS} documents with \
                 {MAX_BYTES} bytes together are the most."
            );
            return Err(error::invalid_input(message));
        }
        Policy::parse(text, grammar).map_err(|why| invalid(name, &why))
    }
}

fn invalid(name: &str, why: &PolicyError) -> error::Error {
    error::invalid_input(format!("Invalid Input {name}: {why}."))
}

/// The only policy of a list for the permissions boundary.
///
/// # Errors
/// `InvalidInput` for more than one.
pub(super) fn boundary(mut policies: Vec<NamedPolicy>) -> Result<Option<NamedPolicy>> {
    let first = policies.pop();
    if policies.is_empty() {
        Ok(first)
    } else {
        let message = "PermissionsBoundaryPolicyInputList can have one policy at most.";
        Err(error::invalid_input(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: &str = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

    #[test]
    fn documents_are_read_within_bounds() {
        let mut documents = Documents::default();
        let read = documents.identity("PolicyInputList", &[ALLOW.into(), ALLOW.into()]);
        let read = read.expect("two policies");
        assert_eq!(&*read[1].name, "PolicyInputList.2");
        assert!(boundary(read).is_err());
        let many = vec![ALLOW.to_owned(); MAX_DOCUMENTS];
        assert!(documents.identity("PolicyInputList", &many).is_err());
        let broken = Documents::default().identity("PolicyInputList", &["{}".into()]);
        let fault = broken.expect_err("refused");
        assert!(
            fault
                .fault()
                .message
                .starts_with("Invalid Input PolicyInputList.1: ")
        );
    }

    #[test]
    fn a_resource_policy_names_resources_or_not() {
        let of_repository =
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"ecr:PutImage"}}"#;
        let of_registry = ALLOW.replace("\"Action\"", "\"Principal\":\"*\",\"Action\"");
        for text in [of_repository, &of_registry] {
            assert!(
                Documents::default()
                    .resource(Some(text))
                    .expect("read")
                    .is_some()
            );
        }
        assert!(Documents::default().resource(Some(ALLOW)).is_err());
        assert_eq!(Documents::default().resource(None).expect("none"), None);
    }
}
