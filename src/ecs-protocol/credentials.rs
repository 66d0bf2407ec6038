//! Credentials of the roles of tasks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whom credentials of a task are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RoleType {
    /// The task role: for the containers.
    #[serde(rename = "TaskApplication")]
    TaskApplication,
    /// The execution role: for the agent only, never visible in the task.
    #[serde(rename = "TaskExecution")]
    TaskExecution,
}

/// Temporary credentials. `Debug` output lacks the secrets.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleCredentials {
    /// Stays when the credentials are renewed: the path of the credentials endpoint.
    pub credentials_id: String,
    pub role_arn: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// RFC 3339.
    pub expiration: String,
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleCredentials")
            .field("credentials_id", &self.credentials_id)
            .field("role_arn", &self.role_arn)
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}
