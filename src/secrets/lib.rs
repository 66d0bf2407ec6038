//! Secrets and parameters that tasks get as environment variables: the values of AWS Secrets
//! Manager and of the parameter store of AWS Systems Manager, sealed under the master key.

mod cleanup;
mod error;
mod model;
mod parameter_names;
mod parameters;
mod secret_names;
mod secrets;
mod stages;
mod store;

pub use cleanup::SecretCleanup;
pub use error::Error;
pub use model::{
    Parameter, ParameterDetails, ParameterType, SecretDetails, SecretValue, SecretVersion,
    SecretsHome, StoredSecret,
};
pub use parameter_names::{ParameterRef, Selector, check_name, is_below};
pub use parameters::{NewParameter, Parameters};
pub use secret_names::SecretRef;
pub use secrets::{NewVersion, Secrets, VersionQuery};
use wharfinger_db::{Migration, migration};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[migration!("V0018__secrets")];

type Result<T, E = Error> = std::result::Result<T, E>;
