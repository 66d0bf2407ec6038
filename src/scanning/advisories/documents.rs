//! The documents that an import reads: JSON files, folders and ZIP archives of them.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use crate::advisories::osv::{KeyedEntry, MAX_DOCUMENT_BYTES, read_document};

/// The most documents of one import. All ecosystems of osv.dev together have about 700,000.
const MAX_DOCUMENTS: u64 = 3_000_000;
/// Folders in folders are read to this depth.
const MAX_DEPTH: usize = 16;

/// Why the documents of an import were not read. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a readable ZIP archive: {why}")]
    Archive { path: PathBuf, why: String },
    #[error("{name} is not an advisory in OSV format: {why}")]
    Document { name: String, why: String },
    #[error("there is no JSON document of an advisory in {0}")]
    Nothing(PathBuf),
    #[error("more than {MAX_DOCUMENTS} documents")]
    TooMany,
    /// Whoever takes the documents wants no more of them.
    #[error("the import was ended")]
    Ended,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocumentSet {
    pub(crate) documents: u64,
    /// Documents about packages of ecosystems that are known.
    pub(crate) advisories: u64,
    digest: [u8; 32],
}

impl DocumentSet {
    /// The same for the same documents in whatever order.
    pub(crate) fn digest(&self) -> String {
        hex::encode(self.digest)
    }

    fn add(&mut self, document: &[u8]) {
        self.documents += 1;
        for (byte, other) in self.digest.iter_mut().zip(Sha256::digest(document)) {
            *byte ^= other;
        }
    }
}

/// Reads every document below `path` and gives its entries to `each`, which returns false to end.
///
/// # Errors
/// [`ReadError`]; one malformed document is enough.
pub(crate) fn read_all(
    path: &Path,
    each: &mut dyn FnMut(Vec<KeyedEntry>) -> bool,
) -> Result<DocumentSet, ReadError> {
    let mut reading = Reading {
        set: DocumentSet::default(),
        each,
    };
    reading.path(path, 0, true)?;
    if reading.set.documents == 0 {
        return Err(ReadError::Nothing(path.to_owned()));
    }
    Ok(reading.set)
}

struct Reading<'a> {
    set: DocumentSet,
    each: &'a mut dyn FnMut(Vec<KeyedEntry>) -> bool,
}

impl Reading<'_> {
    fn path(&mut self, path: &Path, depth: usize, named: bool) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        if fs::metadata(path).map_err(failed)?.is_dir() {
            if depth >= MAX_DEPTH {
                return Ok(());
            }
            let mut inside = Vec::new();
            for entry in fs::read_dir(path).map_err(failed)? {
                inside.push(entry.map_err(failed)?.path());
            }
            inside.sort();
            return inside
                .iter()
                .try_for_each(|path| self.path(path, depth + 1, false));
        }
        let has_extension = |wanted: &str| {
            path.extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
        };
        let mut start = [0; 4];
        let mut file = File::open(path).map_err(failed)?;
        let length = file.read(&mut start).map_err(failed)?;
        if start[..length].starts_with(b"PK") {
            return self.archive(path);
        }
        // What else lies in a folder, such as a README, is not meant.
        if named || has_extension("json") {
            let file = File::open(path).map_err(failed)?;
            let bytes = bounded(file, MAX_DOCUMENT_BYTES).map_err(failed)?;
            self.document(&path.display().to_string(), &bytes)?;
        }
        Ok(())
    }

    fn archive(&mut self, path: &Path) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        let malformed = |why: String| ReadError::Archive {
            path: path.to_owned(),
            why,
        };
        let file = io::BufReader::new(File::open(path).map_err(failed)?);
        let mut archive = ZipArchive::new(file).map_err(|error| malformed(error.to_string()))?;
        for index in 0..archive.len() {
            let entry = archive
                .by_index(index)
                .map_err(|error| malformed(error.to_string()))?;
            let name = entry.name().map(Cow::into_owned);
            let name = name.map_err(|error| malformed(error.to_string()))?;
            if name.to_ascii_lowercase().ends_with(".json") {
                let bytes = bounded(entry, MAX_DOCUMENT_BYTES);
                let bytes = bytes.map_err(|error| malformed(format!("{name}: {error}")))?;
                self.document(&format!("{}: {name}", path.display()), &bytes)?;
            }
        }
        Ok(())
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReadError> {
        let entries = read_document(bytes).map_err(|why| ReadError::Document {
            name: name.to_owned(),
            why,
        })?;
        self.set.add(bytes);
        if self.set.documents > MAX_DOCUMENTS {
            return Err(ReadError::TooMany);
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.set.advisories += 1;
        if (self.each)(entries) {
            Ok(())
        } else {
            Err(ReadError::Ended)
        }
    }
}

fn bounded(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}
