//! Secrets and parameters that tasks get as environment variables.
