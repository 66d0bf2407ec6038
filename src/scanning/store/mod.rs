//! The SQL of this crate.

pub(crate) mod advisories;
pub(crate) mod rpm_database;
