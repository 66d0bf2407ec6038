//! The statements that read RPM's own database.

/// A row where the packages are in an ordinary table. SQLite itself compares kind and name with
/// the text, and begins that of a virtual table in another way.
pub(crate) const IS_TABLE: &str = "SELECT 1 FROM sqlite_schema
    WHERE name = 'Packages' AND type = 'table' AND substr(sql, 1, 13) = 'CREATE TABLE '";

/// The headers of all packages, in any order: to sort them takes as many bytes as they have.
pub(crate) const PACKAGES: &str = "SELECT blob FROM Packages NOT INDEXED";
