//! Java archives: `pom.properties` of Maven, else the manifest; archives inside of archives.

use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::time::Instant;

use zip::ZipArchive;

use crate::package::{Package, PackageKind};

/// Archives in archives are read to this depth: an EAR holds WARs, which hold JARs.
const MAX_DEPTH: usize = 3;
/// The most entries of one archive that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// The largest properties or manifest, in bytes.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;
/// All bytes that one archive, with what is in it, may unpack to.
const MAX_UNPACKED_BYTES: u64 = 128 * 1024 * 1024;

/// The packages of an archive. What is malformed, or beyond the limits, is left out.
pub(crate) fn archive(bytes: &[u8], file_name: &str, deadline: Instant) -> Vec<Package> {
    let mut reading = Reading {
        budget: MAX_UNPACKED_BYTES,
        deadline,
        found: Vec::new(),
    };
    reading.archive(bytes, file_name, 0);
    reading.found
}

struct Reading {
    budget: u64,
    deadline: Instant,
    found: Vec<Package>,
}

impl Reading {
    fn archive(&mut self, bytes: &[u8], file_name: &str, depth: usize) {
        let Ok(mut archive) = ZipArchive::new(Cursor::new(bytes)) else {
            return;
        };
        let mut own = Vec::new();
        let mut manifest = None;
        for index in 0..archive.len().min(MAX_ENTRIES) {
            if Instant::now() >= self.deadline {
                return;
            }
            let Ok(mut entry) = archive.by_index(index) else {
                continue;
            };
            let Ok(name) = entry.name().map(Cow::into_owned) else {
                continue;
            };
            if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
                let text = self.unpack(&mut entry, MAX_TEXT_BYTES);
                own.extend(text.and_then(|text| pom_properties(&String::from_utf8_lossy(&text))));
            } else if name.eq_ignore_ascii_case("META-INF/MANIFEST.MF") {
                manifest = self.unpack(&mut entry, MAX_TEXT_BYTES);
            } else if is_archive(&name) && depth < MAX_DEPTH {
                let inner = self.unpack(&mut entry, self.budget);
                drop(entry);
                if let Some(inner) = inner {
                    let inner_name = name.rsplit('/').next().unwrap_or_default();
                    self.archive(&inner, inner_name, depth + 1);
                }
            }
        }
        if own.is_empty() {
            let manifest = manifest.map(|text| String::from_utf8_lossy(&text).into_owned());
            own.extend(manifest.and_then(|text| of_manifest(&text, file_name)));
        }
        self.found.append(&mut own);
    }

    /// The unpacked bytes of an entry; `None` where they are damaged or more than `limit` or what
    /// remains of the budget.
    fn unpack(&mut self, entry: &mut impl Read, limit: u64) -> Option<Vec<u8>> {
        let limit = limit.min(self.budget);
        let mut bytes = Vec::new();
        let read = entry.take(limit + 1).read_to_end(&mut bytes);
        let length = bytes.len() as u64;
        self.budget = self.budget.saturating_sub(length);
        (read.is_ok() && length <= limit).then_some(bytes)
    }
}

/// Whether a file name is that of a Java archive.
pub(crate) fn is_archive(name: &str) -> bool {
    let extension = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && ["jar", "war", "ear"]
            .iter()
            .any(|one| extension.eq_ignore_ascii_case(one))
}

fn pom_properties(text: &str) -> Option<Package> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(['=', ':'])?;
            (key.trim() == name).then(|| value.trim())
        });
        values.next().filter(|value| !value.is_empty())
    };
    let (group, artifact, version) = (field("groupId")?, field("artifactId")?, field("version")?);
    Some(Package::new(
        PackageKind::Maven,
        &format!("{group}:{artifact}"),
        version,
    ))
}

/// The package of an archive without `pom.properties`. The artifact is the file's name without
/// the version, which the manifest has, too; where they differ, nothing is known.
fn of_manifest(text: &str, file_name: &str) -> Option<Package> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values
            .next()
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    let version = field("Implementation-Version:").or_else(|| field("Bundle-Version:"))?;
    let group = field("Implementation-Vendor-Id:")?;
    let base = file_name.rsplit_once('.')?.0;
    let artifact = base.strip_suffix(version)?.strip_suffix('-')?;
    Some(Package::new(
        PackageKind::Maven,
        &format!("{group}:{artifact}"),
        version,
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    /// An archive of these files.
    pub(crate) fn jar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .expect("memory");
            writer.write_all(bytes).expect("memory");
        }
        writer.finish().expect("memory").into_inner()
    }

    pub(crate) const POM: (&str, &[u8]) = (
        "META-INF/maven/org.apache.logging.log4j/log4j-core/pom.properties",
        b"#x\ngroupId=org.apache.logging.log4j\nartifactId=log4j-core\nversion=2.14.1\n",
    );

    fn read(bytes: &[u8], name: &str) -> Vec<String> {
        let found = archive(bytes, name, Instant::now() + Duration::from_secs(10));
        found
            .iter()
            .map(|one| format!("{}@{}", one.name, one.version))
            .collect()
    }

    #[test]
    fn archives_tell_their_packages_and_those_inside() {
        let inner = jar_of(&[POM, ("A.class", b"x")]);
        let outer = jar_of(&[("BOOT-INF/lib/log4j-core-2.14.1.jar", &inner)]);
        assert_eq!(
            read(&outer, "app.jar"),
            ["org.apache.logging.log4j:log4j-core@2.14.1"]
        );
        let manifest = b"Manifest-Version: 1.0\r\nImplementation-Version: 3.2.1\r\n\
                         Implementation-Vendor-Id: commons-collections\r\n";
        let plain = jar_of(&[("META-INF/MANIFEST.MF", manifest)]);
        assert_eq!(
            read(&plain, "commons-collections-3.2.1.jar"),
            ["commons-collections:commons-collections@3.2.1"]
        );
        assert!(read(&plain, "renamed.jar").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn damaged_archives_never_panic(at in 0..400_usize, byte in proptest::num::u8::ANY) {
            let mut bytes = jar_of(&[POM]);
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
            let _ = read(&bytes, "a.jar");
            bytes.truncate(at);
            let _ = read(&bytes, "a.jar");
        }
    }
}
