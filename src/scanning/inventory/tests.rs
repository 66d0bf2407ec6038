//! Tests of inventories over layers that the tests write.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::*;

pub(crate) fn limits() -> ScanLimits {
    ScanLimits {
        unpacked_bytes: 1024 * 1024 * 1024,
        ratio: 1000,
        entries: 10_000,
        packages: 1000,
        deadline: Instant::now() + Duration::from_mins(1),
    }
}

/// A layer of files; a path that ends in a slash is a folder.
pub(crate) fn layer_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        let folder = path.ends_with('/');
        header.set_entry_type(if folder {
            EntryType::Directory
        } else {
            EntryType::Regular
        });
        builder
            .append_data(&mut header, path, *bytes)
            .expect("memory");
    }
    builder.into_inner().expect("memory")
}

use tar::EntryType;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn inventory(layers: &[Vec<u8>]) -> Inventory {
    let mut builder = InventoryBuilder::new(limits());
    for layer in layers {
        builder.add_layer(layer.as_slice()).expect("a layer");
    }
    builder.finish()
}

/// What a reader finds in a text.
pub(crate) fn found_by(read: fn(&str, &mut Found), text: &str) -> Vec<Package> {
    let mut found = Found::new(1000);
    read(text, &mut found);
    found.finish().expect("it can be read")
}

/// The names and versions of what a reader finds in a text, sorted.
pub(crate) fn names_by(read: fn(&str, &mut Found), text: &str) -> Vec<String> {
    package_names(&found_by(read, text))
}

/// The names and versions of packages, sorted.
pub(crate) fn package_names(found: &[Package]) -> Vec<String> {
    let mut names: Vec<_> = found
        .iter()
        .map(|package| format!("{}@{}", package.name, package.version))
        .collect();
    names.sort();
    names
}

fn names(inventory: &Inventory) -> Vec<String> {
    let named = inventory.packages.iter();
    named
        .map(|one| format!("{}@{} {}", one.name, one.version, one.layer))
        .collect()
}

const STATUS: &[u8] = b"Package: bash\nStatus: install ok installed\nVersion: 5.2-1\n";

#[test]
fn packages_of_all_kinds_are_found_in_layers_of_all_compressions() {
    let os = b"ID=debian\nVERSION_ID=12\n".as_slice();
    let jar = java::tests::jar_of(&[java::tests::POM]);
    let go = binaries::tests::go_program("go1.20.1", binaries::tests::MODULES);
    let rpm = rpm::tests::database_of(&[rpm::tests::bash()]);
    let crates = r#"{"packages": [{"name": "time", "version": "0.1.43", "source": "crates.io"}]}"#;
    let rust = binaries::tests::auditable_program(crates);
    let first = layer_of(&[
        ("etc/", b""),
        ("etc/os-release", os),
        ("var/lib/dpkg/status", STATUS),
        ("lib/apk/db/installed", b"P:musl\nV:1.2.4-r2\n"),
        ("var/lib/rpm/rpmdb.sqlite", &rpm),
    ]);
    let second = layer_of(&[
        ("opt/app.jar", &jar),
        ("usr/bin/server", &go),
        ("usr/bin/tool", &rust),
        (
            "app/node_modules/lodash/package.json",
            br#"{"name": "lodash", "version": "4.17.4"}"#,
        ),
    ]);
    let found = inventory(&[
        gzip(&first),
        zstd::encode_all(second.as_slice(), 3).expect("memory"),
    ]);
    assert_eq!(
        found.distribution.as_ref().map(|one| one.id.as_str()),
        Some("debian")
    );
    assert_eq!(
        names(&found),
        [
            "bash@5.2-1 0",
            "musl@1.2.4-r2 0",
            "bash@2:5.1.8-6.el9 0",
            "lodash@4.17.4 1",
            "c.com/d@v1.2.0 1",
            "golang.org/x/net@v0.1.0 1",
            "stdlib@1.20.1 1",
            "time@0.1.43 1",
            "org.apache.logging.log4j:log4j-core@2.14.1 1",
        ]
    );
    assert_eq!(found.packages[0].path, "var/lib/dpkg/status");
    assert!(found.unread.is_empty(), "{:?}", found.unread);
}

#[test]
fn of_several_databases_of_rpm_the_newest_format_counts() {
    let ndb = include_bytes!("rpm/fixtures/Packages.db");
    let berkeley = include_bytes!("rpm/fixtures/Packages");
    let sqlite = rpm::tests::database_of(&[rpm::tests::bash()]);
    let (old, middle) = (
        ("var/lib/rpm/Packages", berkeley.as_slice()),
        ("var/lib/rpm/Packages.db", ndb.as_slice()),
    );
    let expected = ["hello@4:1.2-3 0", "large@2.0-3 0"];
    assert_eq!(names(&inventory(&[layer_of(&[old])])), expected);
    let elsewhere = ("usr/lib/sysimage/rpm/Packages.db", ndb.as_slice());
    assert_eq!(names(&inventory(&[layer_of(&[elsewhere])])), expected);
    let new = ("var/lib/rpm/rpmdb.sqlite", sqlite.as_slice());
    let all = inventory(&[layer_of(&[old, middle]), layer_of(&[new])]);
    assert_eq!(names(&all), ["bash@2:5.1.8-6.el9 1"]);
    let damaged = ("var/lib/rpm/Packages", b"old".as_slice());
    let unread = inventory(&[layer_of(&[damaged])]).unread;
    let why = "var/lib/rpm/Packages: it is no hash database of Berkeley DB";
    assert_eq!(unread, [why]);
    let half = rpm::tests::database_of(&[rpm::tests::bash(), b"junk".to_vec()]);
    let unread = inventory(&[layer_of(&[("var/lib/rpm/rpmdb.sqlite", &half)])]).unread;
    let why = "var/lib/rpm/rpmdb.sqlite: the header of a package is malformed";
    assert_eq!(unread, [why]);
    // What cannot be read and is not used is no reason for a remark.
    assert!(inventory(&[layer_of(&[damaged, middle])]).unread.is_empty());
}

#[test]
fn go_modules_are_counted_by_the_best_list_of_them() {
    let go = binaries::tests::go_program("go1.20.1", binaries::tests::MODULES);
    let own = (
        "src/go.mod",
        b"module x.org/x\nrequire only.in/source v1.0.0\n".as_slice(),
    );
    let other = (
        "other/go.mod",
        b"module y.org/y\nrequire a.com/b v1.0.0\n".as_slice(),
    );
    let sum = |path| (path, b"c.com/d v1.1.0 h1:x=\n".as_slice());
    let program = ("usr/bin/server", go.as_slice());
    let built = [
        "c.com/d@v1.2.0 0",
        "golang.org/x/net@v0.1.0 0",
        "stdlib@1.20.1 0",
    ];
    let of = |files: &[(&str, &[u8])]| names(&inventory(&[layer_of(files)]));
    assert_eq!(of(&[own, sum("src/go.sum"), program]), built);
    assert_eq!(of(&[own, sum("src/go.sum")]), ["only.in/source@v1.0.0 0"]);
    assert_eq!(of(&[sum("src/go.sum")]), ["c.com/d@v1.1.0 0"]);
    let mut both = vec!["a.com/b@v1.0.0 0"];
    both.extend(built);
    assert_eq!(of(&[own, other, program]), both);
}

#[test]
fn later_layers_replace_and_remove() {
    let package = |version: &str| format!("{{\"name\": \"a\", \"version\": \"{version}\"}}");
    let (old, new) = (package("1.0.0"), package("2.0.0"));
    let path = "app/node_modules/a/package.json";
    let base = layer_of(&[(path, old.as_bytes()), ("var/lib/dpkg/status", STATUS)]);
    let removal = |name: &str| layer_of(&[(name, b"")]);
    let of = |second: Vec<u8>| names(&inventory(&[base.clone(), second]));
    assert_eq!(
        of(layer_of(&[(path, new.as_bytes())])),
        ["bash@5.2-1 0", "a@2.0.0 1"]
    );
    assert_eq!(of(removal("app/node_modules/.wh.a")), ["bash@5.2-1 0"]);
    assert_eq!(
        of(removal("app/node_modules/a/.wh.package.json")),
        ["bash@5.2-1 0"]
    );
    assert_eq!(of(removal("app/.wh..wh..opq")), ["bash@5.2-1 0"]);
    assert_eq!(of(removal(".wh..wh..opq")), Vec::<String>::new());
    assert_eq!(
        of(removal("app/node_modules")),
        ["bash@5.2-1 0"],
        "a file in its place"
    );
    assert_eq!(
        of(layer_of(&[("app/", b"")])),
        ["bash@5.2-1 0", "a@1.0.0 0"]
    );
    // What the same layer brings stays, in whatever order the entries come.
    let opaque = [("app/.wh..wh..opq", b"".as_slice()), (path, new.as_bytes())];
    let reversed = [opaque[1], opaque[0]];
    for entries in [opaque, reversed] {
        assert_eq!(of(layer_of(&entries)), ["bash@5.2-1 0", "a@2.0.0 1"]);
    }
}

#[test]
fn long_names_are_read() {
    let long = format!("{}/node_modules/a/package.json", "deep/".repeat(40));
    let layer = layer_of(&[(long.as_str(), br#"{"name": "a", "version": "1.0.0"}"#)]);
    assert_eq!(names(&inventory(&[layer])), ["a@1.0.0 0"]);
}

#[test]
fn limits_end_the_reading() {
    let read = |limits: ScanLimits, layer: &[u8]| InventoryBuilder::new(limits).add_layer(layer);
    let reached = |result: Result<(), LayerError>| match result {
        Err(LayerError::Limit(limit)) => Some(limit),
        _ => None,
    };
    let layer = layer_of(&[("a", b"x"), ("var/lib/dpkg/status", STATUS)]);
    let mut few = limits();
    few.unpacked_bytes = 1000;
    assert_eq!(reached(read(few, &layer)), Some(LimitReached::Bytes));
    few = limits();
    few.entries = 1;
    assert_eq!(reached(read(few, &layer)), Some(LimitReached::Entries));
    few = limits();
    few.packages = 0;
    assert_eq!(reached(read(few, &layer)), Some(LimitReached::Packages));
    few = limits();
    few.deadline = Instant::now();
    assert_eq!(reached(read(few, &layer)), Some(LimitReached::Time));
    let zeros = vec![0; 80 * 1024 * 1024];
    let bomb = gzip(&layer_of(&[("zeros", &zeros)]));
    few = limits();
    few.ratio = 100;
    assert_eq!(reached(read(few, &bomb)), Some(LimitReached::Ratio));
}

#[test]
fn a_long_path_does_not_multiply_in_many_packages() {
    let many = "a==1\n".repeat(9000);
    let folder = "d".repeat(200);
    let path = format!("{}requirements.txt", format!("{folder}/").repeat(19));
    let mut wide = limits();
    wide.packages = 50_000;
    let add = |path: &str| {
        let layer = layer_of(&[(path, many.as_bytes())]);
        let mut builder = InventoryBuilder::new(wide);
        builder.add_layer(layer.as_slice())
    };
    let limit = LayerError::Limit(LimitReached::Packages).to_string();
    assert_eq!(add(&path).map_err(|error| error.to_string()), Err(limit));
    assert!(add(&format!("{folder}/requirements.txt")).is_ok());
}

#[test]
fn files_without_packages_count_as_well() {
    let read = |name: &str, count: usize| {
        let paths: Vec<_> = (0..count).map(|index| format!("{index}/{name}")).collect();
        let files: Vec<_> = paths
            .iter()
            .map(|path| (path.as_str(), b"".as_slice()))
            .collect();
        let mut builder = InventoryBuilder::new(limits());
        let read = builder.add_layer(layer_of(&files).as_slice());
        (read.map_err(|error| error.to_string()), builder.lower.len())
    };
    let limit = LayerError::Limit(LimitReached::Packages).to_string();
    assert_eq!(read("go.mod", 1001).0, Err(limit));
    assert_eq!(read("go.mod", 1000), (Ok(()), 1000));
    assert_eq!(
        read("go.sum", 1001),
        (Ok(()), 0),
        "what tells nothing is not kept"
    );
    let mut builder = InventoryBuilder::new(limits());
    let module = layer_of(&[("src/go.mod", b"module x.org/x\n")]);
    builder.add_layer(module.as_slice()).expect("a layer");
    assert_eq!(builder.kept_bytes, "src/go.mod".len() + "x.org/x".len());
}

/// A source that fails.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn failures_of_the_source_are_told_from_malformed_layers() {
    let layer = gzip(&layer_of(&[("var/lib/dpkg/status", STATUS)]));
    let cut = &layer[..layer.len() / 2];
    let add = |source: Box<dyn Read>| InventoryBuilder::new(limits()).add_layer(source);
    let cut_off = io::Cursor::new(cut.to_vec()).chain(Broken);
    assert!(matches!(add(Box::new(cut_off)), Err(LayerError::Source(_))));
    let malformed = io::Cursor::new(cut.to_vec());
    assert!(matches!(
        add(Box::new(malformed)),
        Err(LayerError::Malformed(_))
    ));
    let text = io::Cursor::new(b"this is no archive, but a text".repeat(40));
    assert!(matches!(add(Box::new(text)), Err(LayerError::Malformed(_))));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_layers_never_panic(
        at in 0..8000_usize, byte in proptest::num::u8::ANY, cut in 0..8000_usize, packed in 0..3,
    ) {
        let mut layer = layer_of(&[
            ("etc/os-release", b"ID=debian\n"),
            ("var/lib/dpkg/status", STATUS),
            (&"d/".repeat(80), b""),
            ("app/go.mod", b"require a v1\n"),
        ]);
        if packed == 1 {
            layer = gzip(&layer);
        } else if packed == 2 {
            layer = zstd::encode_all(layer.as_slice(), 1).expect("memory");
        }
        let at = at % layer.len();
        layer[at] = byte;
        layer.truncate(cut.max(1));
        let mut builder = InventoryBuilder::new(limits());
        let _ = builder.add_layer(layer.as_slice());
        let _ = builder.finish();
    }
}

/// A header of an entry, with its checksum.
fn header_of(name: &str, kind: EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).expect("a short name");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// Bytes up to the end of a block.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    padded
}

const METADATA: &[u8] = b"Metadata-Version: 2.1\nName: flask\nVersion: 1.0\n";

#[test]
fn the_size_of_an_extended_header_counts() {
    // As Go writes files that are too large for the digits of the header.
    let records = b"16 size=1000000\n";
    let mut layer = header_of("x", EntryType::XHeader, records.len() as u64)
        .as_bytes()
        .to_vec();
    layer.extend(padded(records));
    layer.extend(header_of("large", EntryType::Regular, 0).as_bytes());
    // What it has would end the archive, or be no header.
    layer.extend(padded(&vec![0; 1_000_000]));
    layer.extend(layer_of(&[("a-1.dist-info/METADATA", METADATA)]));
    assert_eq!(names(&inventory(&[layer])), ["flask@1.0 0"]);
}

#[test]
fn an_extended_size_that_is_none_is_an_error() {
    for record in [
        "10 size=x\n",
        "11 size=-1\n",
        "29 size=99999999999999999999\n",
    ] {
        let mut layer = header_of("x", EntryType::XHeader, record.len() as u64)
            .as_bytes()
            .to_vec();
        layer.extend(padded(record.as_bytes()));
        let mut builder = InventoryBuilder::new(limits());
        let read = builder.add_layer(layer.as_slice());
        assert!(matches!(read, Err(LayerError::Malformed(_))), "{record}");
    }
}

#[test]
fn files_after_a_sparse_one_are_read() {
    let mut sparse = header_of("disk", EntryType::GNUSparse, 700);
    sparse.as_gnu_mut().expect("GNU's").set_is_extended(true);
    sparse.set_cksum();
    let mut layer = sparse.as_bytes().to_vec();
    let mut more = tar::GnuExtSparseHeader::new();
    more.isextended = [1];
    layer.extend(more.as_bytes());
    layer.extend(tar::GnuExtSparseHeader::new().as_bytes());
    layer.extend(padded(&[b'x'; 700]));
    layer.extend(layer_of(&[("a-1.dist-info/METADATA", METADATA)]));
    assert_eq!(names(&inventory(&[layer])), ["flask@1.0 0"]);
}

/// As those read them who unpack layers: Go's library, and all that use it.
#[test]
fn files_after_a_link_with_a_size_are_read() {
    let file = layer_of(&[("a-1.dist-info/METADATA", METADATA)]);
    for kind in [
        EntryType::Link,
        EntryType::Symlink,
        EntryType::Char,
        EntryType::Fifo,
        EntryType::Directory,
    ] {
        let mut layer = header_of("x", kind, 1024).as_bytes().to_vec();
        layer.extend(&file);
        assert_eq!(names(&inventory(&[layer])), ["flask@1.0 0"], "{kind:?}");
    }
    // A folder of the oldest format.
    let mut header = header_of("folder/", EntryType::Regular, 1024);
    header.as_old_mut().linkflag = [0];
    header.set_cksum();
    let mut layer = header.as_bytes().to_vec();
    layer.extend(&file);
    assert_eq!(names(&inventory(&[layer])), ["flask@1.0 0"]);
    let records = b"8 path=\n8 size=\n";
    let mut layer = header_of("x", EntryType::XHeader, records.len() as u64)
        .as_bytes()
        .to_vec();
    layer.extend(padded(records));
    layer.extend(&file);
    assert_eq!(names(&inventory(&[layer])), ["flask@1.0 0"]);
}

#[test]
fn an_archive_that_is_cut_off_is_malformed() {
    let whole = layer_of(&[("a-1.dist-info/METADATA", METADATA)]);
    for length in [1, 511, 513, 530] {
        let mut builder = InventoryBuilder::new(limits());
        let read = builder.add_layer(&whole[..length]);
        assert!(matches!(read, Err(LayerError::Malformed(_))), "{length}");
    }
}
