//! The databases of RPM, in each format that distributions have, and the headers in them.
//!
//! Source: rpm.org, "RPM package format" (header structure).

mod berkeley;
mod bytes;
mod ndb;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Instant;

use memchr::memchr;

use crate::package::{Package, PackageKind};

/// The largest header of one package, in bytes: the file lists of the kernel's packages take about
/// 10 MiB.
const MAX_HEADER_BYTES: usize = 32 * 1024 * 1024;
/// The most entries of one header; RPM itself allows 65,536.
const MAX_HEADER_ENTRIES: usize = 65_536;
/// The longest name or version, in bytes. It bounds the search for its end.
const MAX_TEXT_BYTES: usize = 4096;

/// The name of the package that is a key to check signatures.
const KEY_NAME: &str = "gpg-pubkey";

const TAG_NAME: u32 = 1000;
const TAG_VERSION: u32 = 1001;
const TAG_RELEASE: u32 = 1002;
const TAG_EPOCH: u32 = 1003;
const TAG_ARCHITECTURE: u32 = 1022;
const TAG_SOURCE_RPM: u32 = 1044;
const TAG_MODULE: u32 = 5096;

/// How a database stores the headers of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RpmFormat {
    /// `rpmdb.sqlite`: Fedora, RHEL 9 and later.
    Sqlite,
    /// `Packages.db`: SUSE.
    Ndb,
    /// `Packages`, a hash database of Berkeley DB: RHEL 8 and earlier, Amazon Linux 2.
    Berkeley,
}

/// The packages of a database, of which at most `limit` are returned.
///
/// # Errors
/// Why the file cannot be read. What was read up to a damaged place is not returned: a list that
/// is not whole would look like one that is.
pub(crate) fn packages(
    format: RpmFormat,
    bytes: Vec<u8>,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<Package>, String> {
    let mut found = Found {
        packages: Vec::new(),
        limit,
        deadline,
    };
    match format {
        RpmFormat::Sqlite => sqlite::read(bytes, &mut found)?,
        RpmFormat::Ndb => ndb::read(&bytes, &mut found)?,
        RpmFormat::Berkeley => berkeley::read(&bytes, &mut found)?,
    }
    Ok(found.packages)
}

/// What a reader has found.
struct Found {
    packages: Vec<Package>,
    limit: usize,
    deadline: Instant,
}

impl Found {
    /// Takes a header. Returns false once there are as many packages as are wanted.
    ///
    /// # Errors
    /// Where it is malformed, and after the deadline.
    fn add(&mut self, blob: &[u8]) -> Result<bool, String> {
        self.check()?;
        if self.packages.len() < self.limit {
            self.packages.extend(header(blob)?);
        }
        Ok(self.packages.len() < self.limit)
    }

    /// Fails after the deadline.
    fn check(&self) -> Result<(), String> {
        if Instant::now() >= self.deadline {
            return Err("reading it took too long".to_owned());
        }
        Ok(())
    }
}

/// The package of a header; `None` for a key, which RPM has among the packages.
///
/// # Errors
/// Where it is malformed. To leave it out would hide the package.
pub(crate) fn header(blob: &[u8]) -> Result<Option<Package>, String> {
    let tags = Tags::read(blob).filter(|tags| !tags.name.is_empty());
    let tags = tags.ok_or("the header of a package is malformed")?;
    Ok((tags.name != KEY_NAME).then(|| tags.package()))
}

/// What a header tells of its package.
#[derive(Default)]
struct Tags {
    name: String,
    version: String,
    release: String,
    epoch: Option<u32>,
    architecture: Option<String>,
    source: Option<String>,
    module: Option<String>,
}

impl Tags {
    /// `None` where the header is malformed.
    fn read(blob: &[u8]) -> Option<Self> {
        if blob.len() > MAX_HEADER_BYTES {
            return None;
        }
        let number = |bytes: &[u8], at: usize| {
            let bytes = bytes.get(at..at.checked_add(4)?)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let entries = usize::try_from(number(blob, 0)?).ok()?;
        if entries > MAX_HEADER_ENTRIES {
            return None;
        }
        let data = blob.get(8 + entries * 16..)?;
        let mut tags = Self::default();
        let (mut name, mut version, mut release) = (None, None, None);
        for entry in 0..entries {
            let at = 8 + entry * 16;
            let offset = usize::try_from(number(blob, at + 8)?).ok()?;
            let text = || {
                let rest = data.get(offset..)?;
                let rest = &rest[..rest.len().min(MAX_TEXT_BYTES)];
                let end = memchr(0, rest)?;
                Some(String::from_utf8_lossy(&rest[..end]).into_owned())
            };
            match number(blob, at)? {
                TAG_NAME => name = Some(text()?),
                TAG_VERSION => version = Some(text()?),
                TAG_RELEASE => release = Some(text()?),
                TAG_ARCHITECTURE => tags.architecture = Some(text()?),
                TAG_SOURCE_RPM => tags.source = Some(text()?),
                TAG_MODULE => tags.module = Some(text()?),
                TAG_EPOCH => tags.epoch = Some(number(data, offset)?),
                _ => {}
            }
        }
        (tags.name, tags.version, tags.release) = (name?, version?, release?);
        Some(tags)
    }

    fn package(self) -> Package {
        let without_epoch = format!("{}-{}", self.version, self.release);
        let version = match self.epoch.filter(|epoch| *epoch > 0) {
            Some(epoch) => format!("{epoch}:{without_epoch}"),
            None => without_epoch.clone(),
        };
        let mut package = Package::new(PackageKind::Rpm, &self.name, &version);
        package.architecture = self.architecture;
        package.module = self.module.as_deref().and_then(stream);
        if let Some((source, version)) = self.source.as_deref().and_then(source_of) {
            package.source_name = Some(source).filter(|source| *source != self.name);
            package.source_version = Some(version).filter(|version| *version != without_epoch);
        }
        package
    }
}

/// The name and the version of a source package: `openssl-3.0.7-1.el9.src.rpm`.
fn source_of(file: &str) -> Option<(String, String)> {
    let file = file.strip_suffix(".rpm")?;
    let file = file.strip_suffix(".src").or(file.strip_suffix(".nosrc"))?;
    let (rest, release) = file.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    Some((name.to_owned(), format!("{version}-{release}")))
}

/// `nodejs:18` of `nodejs:18:8070020230306170042:bd1311ed`.
fn stream(label: &str) -> Option<String> {
    let mut parts = label.split(':');
    let (name, stream) = (parts.next()?, parts.next()?);
    (!name.is_empty() && !stream.is_empty()).then(|| format!("{name}:{stream}"))
}
