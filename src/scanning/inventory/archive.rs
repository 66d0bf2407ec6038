//! The entries of a layer's tar archive, with long names, each name in a normal form.
//!
//! Source: POSIX pax, GNU tar's long names and sparse files; OCI image-spec, `layer.md`. Headers
//! are read here and not by the library, which would keep extended headers of any size in memory,
//! and does not know the size in them where it does not keep them.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuHeader, Header};

use crate::inventory::unpack::{LayerError, LimitReached, Unpacked};

/// The largest extended header, in bytes. Linux has paths of 4 KiB; attributes may be larger.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;
/// The largest size of an entry, in bytes, so that sums do not overflow.
const MAX_ENTRY_BYTES: u64 = 1 << 60;
/// Headers and contents begin at multiples of this.
const BLOCK_BYTES: u64 = 512;
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
    mut layer: Unpacked<'_>,
    entries: &mut u64,
    mut each: impl FnMut(&LayerEntry<'_>, &mut dyn Read) -> Result<(), LimitReached>,
) -> Result<u64, LayerError> {
    let failed = layer.failed();
    let explain = |error: io::Error| Unpacked::explain(&failed, error);
    let mut extended = Extended::default();
    while let Some(header) = next_header(&mut layer).map_err(explain)? {
        *entries = entries.checked_sub(1).ok_or(LimitReached::Entries)?;
        let kind = header.entry_type();
        let own_size = header.entry_size().map_err(explain)?;
        let size = match kind {
            EntryType::GNULongName
            | EntryType::GNULongLink
            | EntryType::XHeader
            | EntryType::XGlobalHeader => own_size,
            // They have no content, whatever their size says, for those who unpack layers.
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo => 0,
            EntryType::Regular if is_old_folder(&header, &extended) => 0,
            _ => extended.size.unwrap_or(own_size),
        };
        if kind == EntryType::GNUSparse {
            skip_sparse_map(&mut layer, &header).map_err(explain)?;
        }
        let mut content = Content {
            inner: &mut layer,
            left: size,
        };
        match kind {
            EntryType::GNULongName => extended.read_long_name(&mut content, size),
            EntryType::XHeader => extended.read_records(&mut content, size),
            EntryType::XGlobalHeader | EntryType::GNULongLink => Ok(()),
            _ => {
                let name = std::mem::take(&mut extended).path;
                let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                if let Some(path) = normal_path(&name) {
                    let described = LayerEntry {
                        path: &path,
                        kind: match kind {
                            EntryType::Regular if name.ends_with(b"/") && is_old(&header) => {
                                EntryKind::Folder
                            }
                            EntryType::Regular | EntryType::Continuous => EntryKind::File,
                            EntryType::Directory => EntryKind::Folder,
                            _ => EntryKind::Other,
                        },
                        size,
                        executable: header.mode().is_ok_and(|mode| mode & 0o111 != 0),
                    };
                    each(&described, &mut content)?;
                }
                Ok(())
            }
        }
        .map_err(explain)?;
        content.skip().map_err(explain)?;
        let padding = size.next_multiple_of(BLOCK_BYTES) - size;
        skip(&mut layer, padding).map_err(explain)?;
    }
    Ok(layer.unpacked_bytes())
}

/// Whether the header is of a format that has no type of folders.
fn is_old(header: &Header) -> bool {
    header.as_old().linkflag == [0]
}

/// Whether it is a folder of such a format: its name ends with a slash.
fn is_old_folder(header: &Header, extended: &Extended) -> bool {
    let ends = match &extended.path {
        Some(path) => path.ends_with(b"/"),
        None => header.path_bytes().ends_with(b"/"),
    };
    ends && is_old(header)
}

/// The next header; `None` at the end of the archive: a block of zeros, or no more bytes.
fn next_header(layer: &mut impl Read) -> io::Result<Option<Header>> {
    let mut header = Header::new_old();
    let mut filled = 0;
    while filled < header.as_bytes().len() {
        match layer.read(&mut header.as_mut_bytes()[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let bytes = header.as_bytes();
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // Its own field counts as eight spaces.
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let expected = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
    if header.cksum()? != expected {
        return Err(io::Error::other("the checksum of a header is wrong"));
    }
    Ok(Some(header))
}

/// Passes over the blocks that follow the header of a sparse file with more than four pieces.
fn skip_sparse_map(layer: &mut impl Read, header: &Header) -> io::Result<()> {
    let mut more = header.as_gnu().is_some_and(GnuHeader::is_extended);
    while more {
        let mut block = GnuExtSparseHeader::new();
        layer.read_exact(block.as_mut_bytes())?;
        more = block.is_extended();
    }
    Ok(())
}

/// The content of an entry. It ends too soon with an error.
struct Content<'a, R> {
    inner: &'a mut R,
    left: u64,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Content<'_, R> {
    /// Passes over what was not read.
    fn skip(self) -> io::Result<()> {
        skip(self.inner, self.left)
    }
}

fn skip(layer: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut layer.take(bytes), &mut io::sink())?;
    if skipped < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    /// Of its content, in bytes: the header has no digits for 8 GiB and more.
    size: Option<u64>,
}

impl Extended {
    fn read_long_name(&mut self, content: &mut impl Read, size: u64) -> io::Result<()> {
        let mut name = extension(content, size)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        self.path = Some(name);
        Ok(())
    }

    fn read_records(&mut self, content: &mut impl Read, size: u64) -> io::Result<()> {
        let records = extension(content, size)?;
        for (key, value) in pax_records(&records) {
            match key {
                // An empty value takes back what came before.
                b"path" if value.is_empty() => self.path = None,
                b"size" if value.is_empty() => self.size = None,
                b"path" => self.path = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok();
                    let size = size.and_then(|size| size.parse::<u64>().ok());
                    // The archive cannot be read on without it.
                    let size = size.filter(|size| *size <= MAX_ENTRY_BYTES);
                    let error = || io::Error::other("an extended header has no valid size");
                    self.size = Some(size.ok_or_else(error)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
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

/// The keys and values of records of the form `length key=value\n`, up to one that is malformed.
fn pax_records(mut records: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let length = std::str::from_utf8(&records[..space]).ok()?;
        let length = length.parse::<usize>().ok()?;
        let record = records.get(space + 1..length)?;
        records = &records[length..];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    })
}

/// A path without empty parts, `.` and `..`; `None` where it leads out of the image, is too long or
/// has a NUL, which no path can have.
fn normal_path(name: &[u8]) -> Option<String> {
    if name.len() > MAX_PATH_BYTES || name.contains(&0) {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let mut parts = Vec::new();
    for part in name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if part == ".." {
            parts.pop()?;
        } else if parts.len() < MAX_PATH_DEPTH {
            parts.push(part);
        } else {
            return None;
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
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
        assert_eq!(normal("x/../app/y/z/..").as_deref(), Some("app/y"));
        assert_eq!(normal("x/.."), None);
        assert_eq!(normal("./"), None);
        assert_eq!(normal("a/b\0/c"), None);
        assert_eq!(normal(&"a/".repeat(300)), None);
    }

    #[test]
    fn extended_headers_are_records() {
        let read = |records: &'static [u8]| pax_records(records).collect::<Vec<_>>();
        let (path, b) = (b"path".as_slice(), b"b c".as_slice());
        assert_eq!(read(b"11 path=ab\n"), [(path, b"ab".as_slice())]);
        assert_eq!(
            read(b"8 a=b c\n9 path=x\n"),
            [(b"a".as_slice(), b), (path, b"x")]
        );
        for malformed in [
            b"".as_slice(),
            b"999 path=x",
            b"x path=y",
            b"3 a",
            b"0 path=x\n",
        ] {
            assert!(read(malformed).is_empty());
        }
    }
}
