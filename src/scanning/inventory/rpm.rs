//! The database of RPM in its SQLite form, and the headers in it.
//!
//! Source: rpm.org, "RPM package format" (header structure) and `lib/backend/sqlite.c`.

use std::time::Instant;

use rusqlite::{Connection, MAIN_DB};

use crate::package::{Package, PackageKind};

/// The largest header of one package, in bytes: the file lists of the kernel's packages take about
/// 10 MiB.
const MAX_HEADER_BYTES: usize = 32 * 1024 * 1024;
/// The most entries of one header; RPM itself allows 65,536.
const MAX_HEADER_ENTRIES: usize = 65_536;
/// SQLite looks at the deadline each time it has run this many instructions.
const INSTRUCTIONS_PER_CHECK: i32 = 10_000;

const TAG_NAME: u32 = 1000;
const TAG_VERSION: u32 = 1001;
const TAG_RELEASE: u32 = 1002;
const TAG_EPOCH: u32 = 1003;
const TAG_ARCHITECTURE: u32 = 1022;
const TAG_SOURCE_RPM: u32 = 1044;

/// The packages of `rpmdb.sqlite`, of which at most `limit` are returned.
///
/// # Errors
/// Why the file cannot be read.
pub(crate) fn sqlite(
    mut bytes: Vec<u8>,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<Package>, String> {
    // A database in memory cannot have a write-ahead log: the header says so, or SQLite refuses it.
    if let Some(formats) = bytes.get_mut(18..20) {
        formats.fill(1);
    }
    read_sqlite(&bytes, limit, deadline).map_err(|error| error.to_string())
}

fn read_sqlite(bytes: &[u8], limit: usize, deadline: Instant) -> rusqlite::Result<Vec<Package>> {
    let mut connection = Connection::open_in_memory()?;
    connection.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), true)?;
    // The file comes from an image: its schema is not trusted, and its pages may be malformed.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let check = move || Instant::now() >= deadline;
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(check))?;
    let mut statement = connection.prepare(crate::store::rpm_database::PACKAGES)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() >= limit {
            break;
        }
        if let Ok(blob) = row.get_ref(0)?.as_blob() {
            found.extend(header(blob));
        }
    }
    Ok(found)
}

/// The package of a header; `None` where it is malformed or no package (a key of `gpg-pubkey`).
pub(crate) fn header(blob: &[u8]) -> Option<Package> {
    if blob.len() > MAX_HEADER_BYTES {
        return None;
    }
    let number = |at: usize| {
        let bytes = blob.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let entries = usize::try_from(number(0)?).ok()?;
    if entries > MAX_HEADER_ENTRIES {
        return None;
    }
    let data = blob.get(8 + entries * 16..)?;
    let (mut name, mut version, mut release) = (None, None, None);
    let (mut epoch, mut architecture, mut source) = (None, None, None);
    for entry in 0..entries {
        let at = 8 + entry * 16;
        let offset = usize::try_from(number(at + 8)?).ok()?;
        let text = || {
            let rest = data.get(offset..)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        match number(at)? {
            TAG_NAME => name = text(),
            TAG_VERSION => version = text(),
            TAG_RELEASE => release = text(),
            TAG_ARCHITECTURE => architecture = text(),
            TAG_SOURCE_RPM => source = text(),
            TAG_EPOCH => {
                let bytes = data.get(offset..offset.checked_add(4)?);
                epoch = bytes.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
            }
            _ => {}
        }
    }
    let name = name.filter(|name| name != "gpg-pubkey" && !name.is_empty())?;
    let version = format!("{}-{}", version?, release?);
    let version = match epoch.filter(|epoch| *epoch > 0) {
        Some(epoch) => format!("{epoch}:{version}"),
        None => version,
    };
    let mut package = Package::new(PackageKind::Rpm, &name, &version);
    package.architecture = architecture;
    // `openssl-3.0.7-1.el9.src.rpm`: the name is what remains without version and release.
    let source = source.and_then(|source| {
        let mut parts = source.rsplitn(3, '-');
        let (_, _) = (parts.next()?, parts.next()?);
        Some(parts.next()?.to_owned())
    });
    package.source_name = source.filter(|source| *source != name);
    Some(package)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    /// A header with the given texts and an epoch.
    pub(crate) fn header_of(texts: &[(u32, &str)], epoch: Option<u32>) -> Vec<u8> {
        let mut index = Vec::new();
        let mut data = Vec::new();
        let mut entry = |tag: u32, kind: u32, bytes: &[u8]| {
            while kind == 4 && data.len() % 4 != 0 {
                data.push(0);
            }
            let offset = u32::try_from(data.len()).expect("small");
            for number in [tag, kind, offset, 1] {
                index.extend_from_slice(&number.to_be_bytes());
            }
            data.extend_from_slice(bytes);
        };
        for (tag, text) in texts {
            entry(*tag, 6, &[text.as_bytes(), b"\0"].concat());
        }
        if let Some(epoch) = epoch {
            entry(TAG_EPOCH, 4, &epoch.to_be_bytes());
        }
        let length = |bytes: usize| u32::try_from(bytes).expect("small").to_be_bytes();
        [
            length(index.len() / 16).as_slice(),
            &length(data.len()),
            &index,
            &data,
        ]
        .concat()
    }

    pub(crate) fn bash() -> Vec<u8> {
        let texts = [
            (TAG_NAME, "bash"),
            (TAG_VERSION, "5.1.8"),
            (TAG_RELEASE, "6.el9"),
            (TAG_ARCHITECTURE, "x86_64"),
            (TAG_SOURCE_RPM, "bash-shell-5.1.8-6.el9.src.rpm"),
        ];
        header_of(&texts, Some(2))
    }

    /// A database as RPM writes it, with these headers.
    pub(crate) fn database_of(headers: &[Vec<u8>]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let connection = Connection::open(file.path()).expect("a database");
        connection
            .pragma_update(None, "journal_mode", "wal")
            .expect("a mode");
        connection
            .execute_batch(
                "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT \
                 NULL)",
            )
            .expect("a table");
        for header in headers {
            connection
                .execute("INSERT INTO Packages (blob) VALUES (?1)", [header])
                .expect("a row");
        }
        drop(connection);
        std::fs::read(file.path()).expect("the file")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn the_database_lists_packages_and_no_keys() {
        let key = header_of(
            &[
                (TAG_NAME, "gpg-pubkey"),
                (TAG_VERSION, "1"),
                (TAG_RELEASE, "2"),
            ],
            None,
        );
        let found = sqlite(database_of(&[bash(), key, b"junk".to_vec()]), 10, soon());
        let found = found.expect("a database");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "bash");
        assert_eq!(found[0].version, "2:5.1.8-6.el9");
        assert_eq!(found[0].source_name.as_deref(), Some("bash-shell"));
        assert_eq!(found[0].architecture.as_deref(), Some("x86_64"));
    }

    #[test]
    fn malformed_databases_are_refused() {
        assert!(sqlite(b"not a database".to_vec(), 10, soon()).is_err());
        let mut bytes = database_of(&[bash()]);
        bytes.truncate(5000);
        let _ = sqlite(bytes, 10, soon());
    }

    proptest::proptest! {
        #[test]
        fn headers_never_panic(
            mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0..150_usize,
        ) {
            let _ = header(&bytes);
            let mut real = bash();
            if let (Some(byte), Some(new)) = (real.get_mut(at), bytes.pop()) {
                *byte = new;
            }
            let _ = header(&real);
        }
    }
}
