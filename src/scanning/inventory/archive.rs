//! The entries of a layer's tar archive, with long names, each name in a normal form.
//!
//! Source: POSIX pax, GNU tar's long names; OCI image-spec, `layer.md`. The headers of one file are
//! read here and not by the library, which would keep extended headers of any size in memory.

use std::io::{self, Read};

use tar::{Archive, EntryType};

use crate::inventory::unpack::{LayerError, LimitReached, Unpacked};

/// The largest extended header, in bytes. Linux has paths of 4 KiB; attributes may be larger.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// The most parts of a path.
const MAX_PATH_DEPTH: usize = 256;

/// What an entry of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Folder,
    /// A link, a device: nothing to read, but it replaces what was there.
    Other,
}

/// An entry of a layer.
pub(crate) struct LayerEntry<'a> {
    /// Without a leading slash, without `.` and `..`.
    pub(crate) path: &'a str,
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    /// Whether the mode lets anybody execute it.
    pub(crate) executable: bool,
}

/// Calls `each` with every entry and its content, and returns how many bytes were unpacked.
///
/// # Errors
/// [`LayerError`], whatever the archive holds.
pub(crate) fn read_entries(
    layer: Unpacked<'_>,
    entries: &mut u64,
    mut each: impl FnMut(&LayerEntry<'_>, &mut dyn Read) -> Result<(), LimitReached>,
) -> Result<u64, LayerError> {
    let failed = layer.failed();
    let explain = |error: io::Error| Unpacked::explain(&failed, error);
    let mut archive = Archive::new(layer);
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(explain)?.raw(true) {
        let mut entry = entry.map_err(explain)?;
        *entries = entries.checked_sub(1).ok_or(LimitReached::Entries)?;
        let size = entry.size();
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = extension(&mut entry, size).map_err(explain)?;
                name.truncate(
                    name.iter()
                        .position(|byte| *byte == 0)
                        .unwrap_or(name.len()),
                );
                long_name = Some(name);
                continue;
            }
            EntryType::XHeader => {
                let records = extension(&mut entry, size).map_err(explain)?;
                long_name = pax_path(&records).or(long_name);
                continue;
            }
            EntryType::XGlobalHeader | EntryType::GNULongLink => continue,
            _ => {}
        }
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let name = long_name
            .take()
            .unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let Some(path) = normal_path(&name) else {
            continue;
        };
        let described = LayerEntry {
            path: &path,
            kind,
            size,
            executable,
        };
        each(&described, &mut entry)?;
    }
    Ok(archive.into_inner().unpacked_bytes())
}

/// The content of an extended header.
fn extension(entry: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_EXTENSION_BYTES {
        return Err(io::Error::other("an extended header is too large"));
    }
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The path in records of the form `length key=value\n`.
fn pax_path(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    while let Some(space) = records.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&records[..space])
            .ok()?
            .parse::<usize>()
            .ok()?;
        let record = records.get(space + 1..length)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            found = Some(path.strip_suffix(b"\n").unwrap_or(path).to_vec());
        }
        records = &records[length..];
    }
    found
}

/// A path without empty parts and `.`; `None` where it leads out of the image, is too long or has a
/// NUL, which no path can have.
fn normal_path(name: &[u8]) -> Option<String> {
    if name.len() > MAX_PATH_BYTES || name.contains(&0) {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let mut path = String::with_capacity(name.len());
    let mut depth = 0;
    for part in name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        depth += 1;
        if part == ".." || depth > MAX_PATH_DEPTH {
            return None;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_normal_form() {
        let normal = |name: &str| normal_path(name.as_bytes());
        assert_eq!(normal("./a//b/./c/").as_deref(), Some("a/b/c"));
        assert_eq!(normal("/etc/os-release").as_deref(), Some("etc/os-release"));
        assert_eq!(normal("../etc"), None);
        assert_eq!(normal("a/../../etc"), None);
        assert_eq!(normal("./"), None);
        assert_eq!(normal("a/b\0/c"), None);
        assert_eq!(normal(&"a/".repeat(300)), None);
    }

    #[test]
    fn extended_headers_name_the_path() {
        assert_eq!(pax_path(b"11 path=ab\n").as_deref(), Some(b"ab".as_slice()));
        assert_eq!(
            pax_path(b"8 a=b c\n9 path=x\n").as_deref(),
            Some(b"x".as_slice())
        );
        for malformed in [
            b"".as_slice(),
            b"999 path=x",
            b"x path=y",
            b"3 a",
            b"0 path=x\n",
        ] {
            assert_eq!(pax_path(malformed), None);
        }
    }
}
