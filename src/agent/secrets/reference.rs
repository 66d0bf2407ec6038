//! What `valueFrom` names. PURE.

/// A secret or a parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SecretReference {
    pub(super) is_parameter: bool,
    /// Its ARN or name.
    pub(super) id: String,
    /// The region of its ARN.
    pub(super) region: Option<String>,
    /// The member of a secret that is a JSON document.
    pub(super) json_key: Option<String>,
    pub(super) version_stage: Option<String>,
    pub(super) version_id: Option<String>,
}

impl SecretReference {
    /// As reasons name the service.
    pub(super) const fn kind(&self) -> &'static str {
        if self.is_parameter { "ssm" } else { "asm" }
    }
}

/// Reads `arn:…:secretsmanager:region:account:secret:name[:key[:stage[:id]]]`, the ARN of a
/// parameter, or the name of one.
pub(super) fn reference(value_from: &str) -> SecretReference {
    let parts: Vec<&str> = value_from.split(':').collect();
    let part = |index: usize| {
        let found = parts.get(index).filter(|text| !text.is_empty());
        found.map(|text| (*text).to_owned())
    };
    match parts.as_slice() {
        ["arn", _, "secretsmanager", _, _, "secret", _, ..] => SecretReference {
            is_parameter: false,
            id: parts[..7].join(":"),
            region: part(3),
            json_key: part(7),
            version_stage: part(8),
            version_id: part(9),
        },
        ["arn", _, "ssm", ..] => SecretReference {
            is_parameter: true,
            id: value_from.to_owned(),
            region: part(3),
            ..SecretReference::default()
        },
        _ => SecretReference {
            is_parameter: true,
            id: value_from.to_owned(),
            ..SecretReference::default()
        },
    }
}

/// Reads the ARN or the name of a secret, where nothing else may stand.
pub(super) fn secret(id: &str) -> SecretReference {
    SecretReference {
        is_parameter: false,
        ..reference(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_keys_and_versions() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf";
        let found = reference(arn);
        assert_eq!((found.id.as_str(), found.json_key), (arn, None));
        assert_eq!(found.region.as_deref(), Some("eu-west-1"));
        let found = reference(&format!("{arn}:password:AWSPREVIOUS:"));
        assert_eq!(found.id, arn);
        assert_eq!(found.json_key.as_deref(), Some("password"));
        assert_eq!(found.version_stage.as_deref(), Some("AWSPREVIOUS"));
        assert_eq!(found.version_id, None);
        assert_eq!(
            reference(&format!("{arn}:::id")).version_id.as_deref(),
            Some("id")
        );
    }

    #[test]
    fn a_name_is_that_of_a_secret_where_only_secrets_are_named() {
        let found = secret("registries/quay");
        assert!(!found.is_parameter);
        assert_eq!(found.id, "registries/quay");
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:quay-AbCdEf";
        assert_eq!(secret(arn), reference(arn));
    }

    #[test]
    fn parameters_have_names_or_arns() {
        let found = reference("/prod/db");
        assert!(found.is_parameter && found.region.is_none());
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/prod/db";
        let found = reference(arn);
        assert_eq!(found.id, arn);
        assert_eq!(found.region.as_deref(), Some("us-east-1"));
    }
}
