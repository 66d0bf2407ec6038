//! Reads the packages of image layers, compares them with advisories in OSV format, and describes
//! them as `CycloneDX` and SPDX documents. It knows layers and packages, no repositories.

mod advisories;
mod distribution;
mod findings;
mod inventory;
mod package;
mod sbom;
mod severity;
mod store;
mod versions;

pub use advisories::{
    Advisories, AdvisoryCleanup, AdvisoryError, AdvisorySource, AdvisoryState, Comparison,
    ImportResult, fetch_advisories,
};
pub use distribution::Distribution;
pub use findings::{AffectedPackage, Vulnerability};
pub use inventory::{Inventory, InventoryBuilder, LayerError, LimitReached, ScanLimits};
pub use package::{Package, PackageKind};
pub use sbom::{SbomSubject, cyclonedx, spdx};
pub use severity::{CvssScore, FindingSeverity};
use wharfinger_db::Migration;

/// The tables of advisories.
pub const MIGRATIONS: &[Migration] = &[wharfinger_db::migration!("V0030__advisories")];

/// What the fuzzer calls of private modules.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use crate::advisories::matching::{Installed, affects};
    use crate::advisories::osv::read_document;

    /// How many of the packages of an advisory are affected at a version; `None` where it is
    /// malformed.
    pub fn advisory_affects(document: &[u8], version: &str) -> Option<usize> {
        let entries = read_document(document).ok()?;
        let installed = Installed::of(version);
        let affected = entries
            .iter()
            .filter(|one| affects(&one.entry, &one.ecosystem, &installed).is_some());
        Some(affected.count())
    }
}
