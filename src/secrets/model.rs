//! The types of secrets and parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_base::{Secret, Timestamp};

/// An account in a region: what all names are relative to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretsHome {
    pub account: AccountId,
    pub region: Region,
}

impl SecretsHome {
    /// The ARN of a resource of a service.
    pub fn arn(&self, service: &str, resource: &str) -> Arn {
        let (region, account) = (self.region.as_str(), self.account.as_str());
        Arn::new(self.region.partition(), service, region, account, resource)
    }
}

/// A secret of Secrets Manager, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    pub home: SecretsHome,
    pub name: String,
    /// Six random letters and digits: a secret that is made again under an old name has another
    /// ARN.
    pub suffix: String,
    pub created_at: Timestamp,
    /// When a secret that is marked for deletion goes.
    pub deleted_at: Option<Timestamp>,
    pub details: SecretDetails,
}

impl StoredSecret {
    pub fn arn(&self) -> Arn {
        let resource = format!("secret:{}-{}", self.name, self.suffix);
        self.home.arn("secretsmanager", &resource)
    }
}

/// What the index need not search by; one JSON document there.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretDetails {
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    pub changed_at: Option<Timestamp>,
    /// The day of the last read, in UTC.
    pub accessed_at: Option<Timestamp>,
    pub tags: BTreeMap<String, String>,
}

/// A version of a secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVersion {
    /// 32 to 64 characters.
    pub id: String,
    pub created_at: Timestamp,
    /// Staging labels such as `AWSCURRENT`; each is on one version of a secret at most.
    pub stages: Vec<String>,
}

/// The value of a secret.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretValue {
    Text(Secret<String>),
    Binary(Secret<Vec<u8>>),
}

/// A version of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub home: SecretsHome,
    pub name: String,
    /// From 1.
    pub version: i64,
    pub kind: ParameterType,
    pub modified_at: Timestamp,
    /// The ARN of the principal that wrote it.
    pub modified_by: String,
    pub details: ParameterDetails,
    pub value: Secret<String>,
    /// The sealed value, which is shown of a secure string where its value is not requested.
    pub sealed: Vec<u8>,
}

impl Parameter {
    pub fn arn(&self) -> Arn {
        parameter_arn(&self.home, &self.name)
    }
}

/// The ARN of a parameter. A slash at the start of the name is not written twice.
pub(crate) fn parameter_arn(home: &SecretsHome, name: &str) -> Arn {
    let path = name.strip_prefix('/').unwrap_or(name);
    home.arn("ssm", &format!("parameter/{path}"))
}

/// What the index need not search by; one JSON document there.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterDetails {
    pub description: Option<String>,
    pub key_id: Option<String>,
    pub allowed_pattern: Option<String>,
    pub tier: String,
    pub data_type: String,
}

/// The types of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterType {
    String,
    StringList,
    SecureString,
}

impl ParameterType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

impl std::str::FromStr for ParameterType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "String" => Ok(Self::String),
            "StringList" => Ok(Self::StringList),
            "SecureString" => Ok(Self::SecureString),
            _ => Err(()),
        }
    }
}
