//! Reads files of any bytes at the paths of package databases, lock files, archives and programs.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tar::{Builder, EntryType, Header};
use wharfinger_scanning::{InventoryBuilder, ScanLimits};

const PATHS: &[&str] = &[
    "etc/os-release",
    "var/lib/dpkg/status",
    "lib/apk/db/installed",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages.db",
    "var/lib/rpm/Packages",
    "a-1.dist-info/METADATA",
    "requirements.txt",
    "poetry.lock",
    "Pipfile.lock",
    "package-lock.json",
    "yarn.lock",
    "go.mod",
    "go.sum",
    "pnpm-lock.yaml",
    "pom.xml",
    "gradle.lockfile",
    "Cargo.lock",
    "node_modules/a/package.json",
    "a.jar",
    "bin/program",
];

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let path = PATHS[usize::from(*first) % PATHS.len()];
    let mut archive = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o755);
    header.set_entry_type(EntryType::Regular);
    archive.append_data(&mut header, path, data).expect("memory");
    let mut builder = InventoryBuilder::new(ScanLimits {
        unpacked_bytes: 64 * 1024 * 1024,
        ratio: 1000,
        entries: 10_000,
        packages: 100_000,
        deadline: Instant::now() + Duration::from_secs(3),
    });
    let layer = archive.into_inner().expect("memory");
    let _ = builder.add_layer(layer.as_slice());
    for package in builder.finish().packages {
        assert_eq!(package.path, path);
        assert!(package.purl(None).starts_with("pkg:"));
    }
});
