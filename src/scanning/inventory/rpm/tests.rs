//! Tests of RPM's headers and databases.

use std::time::Duration;

use rusqlite::Connection;

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

const TABLE: &str =
    "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)";

/// A database as RPM writes it, with these headers.
pub(crate) fn database_of(headers: &[Vec<u8>]) -> Vec<u8> {
    database_with(TABLE, headers, "")
}

/// A database with a table, headers in it, and what further statements make of it.
fn database_with(table: &str, headers: &[Vec<u8>], statements: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let connection = Connection::open(file.path()).expect("a database");
    connection
        .pragma_update(None, "journal_mode", "wal")
        .expect("a mode");
    connection.execute_batch(table).expect("a table");
    for header in headers {
        connection
            .execute("INSERT INTO Packages (blob) VALUES (?1)", [header])
            .expect("a row");
    }
    connection.execute_batch(statements).expect("statements");
    drop(connection);
    std::fs::read(file.path()).expect("the file")
}

/// The names and versions in a database.
pub(super) fn read(format: RpmFormat, bytes: &[u8], limit: usize) -> Result<Vec<String>, String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let found = packages(format, bytes.to_vec(), limit, deadline)?;
    let named = found
        .iter()
        .map(|one| format!("{}@{}", one.name, one.version));
    Ok(named.collect())
}

/// Reads a database with another byte at a place, and one that ends too soon.
pub(super) fn damage(format: RpmFormat, bytes: &[u8], at: usize, byte: u8, cut: usize) {
    let mut bytes = bytes.to_vec();
    if let Some(target) = bytes.get_mut(at) {
        *target = byte;
    }
    let _ = read(format, &bytes, 10);
    bytes.truncate(cut);
    let _ = read(format, &bytes, 10);
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
    let bytes = database_of(&[bash(), key]);
    let deadline = Instant::now() + Duration::from_secs(10);
    let found = packages(RpmFormat::Sqlite, bytes, 10, deadline).expect("a database");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "bash");
    assert_eq!(found[0].version, "2:5.1.8-6.el9");
    assert_eq!(found[0].source_name.as_deref(), Some("bash-shell"));
    assert_eq!(found[0].architecture.as_deref(), Some("x86_64"));
}

#[test]
fn a_database_with_a_malformed_header_is_not_read() {
    let malformed = Err("the header of a package is malformed".to_owned());
    let of = |header: Vec<u8>| read(RpmFormat::Sqlite, &database_of(&[bash(), header]), 10);
    assert_eq!(of(b"junk".to_vec()), malformed);
    assert_eq!(of(Vec::new()), malformed);
    assert_eq!(of(bash()[..100].to_vec()), malformed);
    let (name, version, release) = ((TAG_NAME, "a"), (TAG_VERSION, "1"), (TAG_RELEASE, "1"));
    assert_eq!(of(header_of(&[version, release], None)), malformed);
    assert_eq!(
        of(header_of(&[(TAG_NAME, ""), version, release], None)),
        malformed
    );
    assert_eq!(of(header_of(&[name, release], None)), malformed);
    assert_eq!(of(header_of(&[name, version], None)), malformed);
    let mut source = header_of(&[name, version, release, (TAG_SOURCE_RPM, "x")], None);
    source.pop();
    assert_eq!(of(source), malformed, "a text without an end");
    let mut cut = header_of(&[name, version, release], Some(1));
    cut.pop();
    assert_eq!(of(cut), malformed, "an epoch of three bytes");
    let too_many = u32::try_from(MAX_HEADER_ENTRIES + 1).expect("small");
    assert_eq!(of(too_many.to_be_bytes().repeat(2)), malformed);
}

#[test]
fn packages_are_read_of_an_ordinary_table_only() {
    let refused = Err("it has no table of packages".to_owned());
    let of = |statements: &str| {
        let table = TABLE.replace("Packages", "other");
        read(
            RpmFormat::Sqlite,
            &database_with(&table, &[], statements),
            10,
        )
    };
    let endless = "CREATE VIEW Packages AS WITH RECURSIVE numbers (hnum) AS \
                   (SELECT 1 UNION ALL SELECT hnum + 1 FROM numbers) \
                   SELECT hnum, zeroblob(1000000) AS blob FROM numbers";
    assert_eq!(of(endless), refused);
    for page in [0, 2] {
        let module = format!(
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'Packages', \
             'Packages', {page}, 'CREATE VIRTUAL TABLE Packages USING module (hnum, blob)')"
        );
        assert_eq!(of(&module), refused, "page {page}");
    }
    let computed = "CREATE TABLE Packages (hnum, blob AS (zeroblob(hnum)))";
    assert_eq!(of(computed), refused);
    assert_eq!(of(""), refused);
}

#[test]
fn rows_with_the_same_bytes_are_refused() {
    const PAGE: usize = 4096;
    let mut header = bash();
    header.resize(20 * PAGE, 0);
    let mut bytes = database_of(&[header.clone(), header]);
    assert_eq!(
        read(RpmFormat::Sqlite, &bytes, 10).map(|found| found.len()),
        Ok(2)
    );
    // The page with both rows has them at its end, each with the number of its first overflow page
    // at the end; the second row comes first.
    let mut leaves = (1..bytes.len() / PAGE).map(|page| page * PAGE);
    let two = [0, 2];
    let leaf = leaves.find(|at| bytes[*at] == 13 && bytes[at + 3..at + 5] == two);
    let leaf = leaf.expect("the page of the rows");
    let first = leaf + PAGE;
    let second = leaf + usize::from(u16::from_be_bytes([bytes[leaf + 8], bytes[leaf + 9]]));
    bytes.copy_within(first - 4..first, second - 4);
    let pages = 25;
    bytes.truncate(pages * PAGE);
    bytes[28..32].copy_from_slice(&u32::try_from(pages).expect("few").to_be_bytes());
    let read = read(RpmFormat::Sqlite, &bytes, 10);
    assert_eq!(read, Err("the SQLite database is damaged".to_owned()));
}

#[test]
fn a_row_without_a_header_is_noticed() {
    let text = "INSERT INTO Packages (blob) VALUES ('text')";
    let bytes = database_with(TABLE, &[bash()], text);
    let read = read(RpmFormat::Sqlite, &bytes, 10);
    assert_eq!(read, Err("a row has no header".to_owned()));
}

#[test]
fn headers_tell_module_and_source() {
    let of = |version: &str, source: &str| {
        let texts = [
            (TAG_NAME, "npm"),
            (TAG_VERSION, version),
            (TAG_RELEASE, "1.el8"),
            (TAG_SOURCE_RPM, source),
            (TAG_MODULE, "nodejs:18:8070020230306170042:bd1311ed"),
        ];
        let found = header(&header_of(&texts, Some(1))).expect("a header");
        found.expect("a package")
    };
    let other = of("9.5.0", "nodejs-18.14.2-1.el8.src.rpm");
    assert_eq!(other.module.as_deref(), Some("nodejs:18"));
    assert_eq!(other.source_name.as_deref(), Some("nodejs"));
    assert_eq!(other.source_version.as_deref(), Some("18.14.2-1.el8"));
    let same = of("18.14.2", "nodejs-18.14.2-1.el8.nosrc.rpm");
    assert_eq!(same.source_version, None);
    assert_eq!(of("1", "(none)").source_name, None);
}

#[test]
fn malformed_databases_are_refused() {
    assert!(read(RpmFormat::Sqlite, b"not a database", 10).is_err());
    let mut bytes = database_of(&[bash()]);
    bytes.truncate(5000);
    let _ = read(RpmFormat::Sqlite, &bytes, 10);
}

#[test]
fn a_header_of_texts_without_an_end_is_read_in_bounded_time() {
    let entries: Vec<_> = (0..MAX_HEADER_ENTRIES).map(|_| (TAG_NAME, "")).collect();
    let mut blob = header_of(&entries, None);
    // The terminating zeros become text.
    let data = 8 + entries.len() * 16;
    blob[data..].fill(b'a');
    blob.resize(data + 8 * 1024 * 1024, b'a');
    let begun = Instant::now();
    assert!(header(&blob).is_err());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_database_is_not_read_after_its_deadline() {
    let bytes = include_bytes!("fixtures/Packages").to_vec();
    let read = packages(RpmFormat::Berkeley, bytes, 10, Instant::now());
    assert_eq!(read, Err("reading it took too long".to_owned()));
}

#[test]
fn no_header_is_taken_after_the_deadline() {
    let mut found = Found {
        packages: Vec::new(),
        limit: 10,
        deadline: Instant::now(),
    };
    assert_eq!(
        found.add(&bash()),
        Err("reading it took too long".to_owned())
    );
    assert_eq!(found.packages, []);
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
