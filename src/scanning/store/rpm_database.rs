//! The statement that reads RPM's own database.

/// The headers of all packages.
pub(crate) const PACKAGES: &str = "SELECT blob FROM Packages ORDER BY hnum";
