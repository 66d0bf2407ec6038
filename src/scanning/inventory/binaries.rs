//! Lists of dependencies inside of programs: Go's build information, and what `cargo auditable`
//! writes.
//!
//! Source: Go `src/debug/buildinfo` (format since Go 1.18); cargo-auditable, `PARSING.md`.

use memchr::memmem;
use serde::Deserialize;

use crate::inventory::go_modules::GoModule;
use crate::package::{Package, PackageKind};

const GO_MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where the strings begin, from the magic.
const GO_STRINGS_AT: usize = 32;
/// The flag of the format that has its strings in place.
const GO_INLINE_STRINGS: u8 = 2;
/// What frames the list of modules in the build information.
const GO_FRAME_BYTES: usize = 16;
/// The largest build information, in bytes. Kubernetes has 40 KiB.
pub(crate) const MAX_GO_BYTES: usize = 4 * 1024 * 1024;

/// The longest version of Go, in bytes: `go1.21.3 X:experiment`. What is longer is none, and
/// reading it for each of many magics would take long.
const MAX_GO_VERSION_BYTES: usize = 256;

/// The largest list of crates, in bytes of JSON.
const MAX_CRATES_BYTES: usize = 8 * 1024 * 1024;

/// Finds Go's build information in a program that is read piece by piece.
#[derive(Default)]
pub(crate) struct GoSearch {
    /// The end of what was read, from a magic on where one was found.
    kept: Vec<u8>,
    found: Option<GoModule>,
}

impl GoSearch {
    /// Takes the next bytes of the program.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        self.kept.extend_from_slice(bytes);
        self.search(false);
    }

    /// The main module with what it was built from, after the last byte.
    pub(crate) fn finish(mut self) -> GoModule {
        self.search(true);
        self.found.unwrap_or_default()
    }

    fn search(&mut self, at_end: bool) {
        let mut start = 0;
        while let Some(next) = memmem::find(&self.kept[start..], GO_MAGIC) {
            let at = start + next;
            match build_information(&self.kept[at..]) {
                Parsed::Modules(module) => {
                    self.found = Some(module);
                    self.kept = Vec::new();
                    return;
                }
                Parsed::Short if !at_end && self.kept.len() - at < MAX_GO_BYTES => {
                    self.kept.drain(..at);
                    return;
                }
                // The magic occurs elsewhere, too: in programs that read it.
                Parsed::Short | Parsed::Other => start = at + 1,
            }
        }
        let keep = (self.kept.len() - start).min(GO_MAGIC.len() - 1);
        self.kept.drain(..self.kept.len() - keep);
    }
}

enum Parsed {
    Modules(GoModule),
    /// More bytes are needed.
    Short,
    Other,
}

fn build_information(bytes: &[u8]) -> Parsed {
    let Some(flags) = bytes.get(GO_MAGIC.len() + 1) else {
        return Parsed::Short;
    };
    if flags & GO_INLINE_STRINGS == 0 {
        return Parsed::Other;
    }
    let Some(mut rest) = bytes.get(GO_STRINGS_AT..) else {
        return Parsed::Short;
    };
    let version = match text(&mut rest, MAX_GO_VERSION_BYTES) {
        Ok(version) => version,
        Err(other) => return other,
    };
    let Some(version) = version.strip_prefix("go") else {
        return Parsed::Other;
    };
    let modules = match text(&mut rest, MAX_GO_BYTES) {
        Ok(modules) => modules,
        Err(other) => return other,
    };
    let mut found = GoModule::default();
    // `go1.21.3 X:experiment`
    let version = version.split(' ').next().unwrap_or_default();
    if version.starts_with(|c: char| c.is_ascii_digit()) {
        let stdlib = Package::new(PackageKind::Go, "stdlib", version);
        found.packages.push(stdlib);
    }
    let end = modules.len().saturating_sub(GO_FRAME_BYTES);
    if let Some(listed) = modules.get(GO_FRAME_BYTES.min(end)..end) {
        found.packages.extend(go_modules(listed));
        let mut mains = listed.lines().filter_map(|line| line.strip_prefix("mod\t"));
        let main = mains.next().and_then(|line| line.split('\t').next());
        main.unwrap_or_default().clone_into(&mut found.path);
    }
    Parsed::Modules(found)
}

/// A string of at most that length, with its length before it as an unsigned variable-length
/// integer.
fn text(rest: &mut &[u8], most: usize) -> Result<String, Parsed> {
    let mut length = 0_usize;
    for shift in (0..).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Parsed::Short)?;
        *rest = after;
        if shift > 21 {
            return Err(Parsed::Other);
        }
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length > most {
        return Err(Parsed::Other);
    }
    let bytes = rest.get(..length).ok_or(Parsed::Short)?;
    *rest = &rest[length..];
    // The frame of the module list is no UTF-8; its length stays the same only if it is kept
    // byte by byte.
    Ok(bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii() {
                char::from(*byte)
            } else {
                '?'
            }
        })
        .collect())
}

/// The lines `dep path version sum`, each perhaps replaced by a line `=> path version sum`.
fn go_modules(text: &str) -> Vec<Package> {
    let mut found: Vec<Package> = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        match fields.as_slice() {
            ["dep", name, version, ..] if !version.is_empty() => {
                found.push(Package::new(PackageKind::Go, name, version));
            }
            ["mod", name, version, ..] if version.starts_with('v') => {
                found.push(Package::new(PackageKind::Go, name, version));
            }
            ["=>", name, version, ..] => {
                if let Some(last) = found.last_mut() {
                    *last = Package::new(PackageKind::Go, name, version);
                }
            }
            _ => {}
        }
    }
    found
}

#[derive(Deserialize)]
struct Crates {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    source: String,
    #[serde(default)]
    kind: Option<String>,
}

/// The crates that `cargo auditable` noted in a program; those of build scripts are not in it.
pub(crate) fn auditable(program: &[u8]) -> Vec<Package> {
    let json = auditable_info::json_from_slice(program, MAX_CRATES_BYTES);
    let crates = json
        .ok()
        .and_then(|json| serde_json::from_str::<Crates>(&json).ok());
    let packages = crates.map(|crates| crates.packages).unwrap_or_default();
    let runtime = packages
        .into_iter()
        .filter(|one| one.kind.as_deref() != Some("build") && one.source != "local");
    runtime
        .map(|one| Package::new(PackageKind::Cargo, &one.name, &one.version))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    /// Build information as the linker of Go writes it.
    pub(crate) fn go_program(version: &str, modules: &str) -> Vec<u8> {
        let mut program = b"\x7fELF".to_vec();
        program.extend(vec![7; 300]);
        program.extend_from_slice(GO_MAGIC);
        program.extend_from_slice(&[8, GO_INLINE_STRINGS]);
        program.extend(vec![0; GO_STRINGS_AT - GO_MAGIC.len() - 2]);
        let framed = [
            b"\xf3".repeat(16),
            modules.as_bytes().to_vec(),
            b"\xf9".repeat(16),
        ]
        .concat();
        for text in [version.as_bytes(), &framed] {
            let mut length = text.len();
            while length >= 0x80 {
                program.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
                length >>= 7;
            }
            program.push(u8::try_from(length).expect("seven bits"));
            program.extend_from_slice(text);
        }
        program.extend(vec![1; 100]);
        program
    }

    pub(crate) const MODULES: &str = "path\tx\nmod\tx.org/x\t(devel)\t\ndep\tgolang.org/x/net\t\
                                      v0.1.0\th1:=\ndep\ta.com/b\tv1.0.0\n=>\tc.com/d\t\
                                      v1.2.0\th1:=\n";

    /// An ELF program of 64 bits with one section of crates.
    pub(crate) fn auditable_program(json: &str) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(json.as_bytes()).expect("memory");
        let data = encoder.finish().expect("memory");
        let names = b"\0.dep-v0\0.shstrtab\0";
        let header = 64_u64;
        let data_at = header;
        let names_at = data_at + data.len() as u64;
        let sections_at = names_at + names.len() as u64;
        let mut program = b"\x7fELF\x02\x01\x01".to_vec();
        program.resize(16, 0);
        program.extend_from_slice(&3_u16.to_le_bytes());
        program.extend_from_slice(&62_u16.to_le_bytes());
        program.extend_from_slice(&1_u32.to_le_bytes());
        for number in [0, 0, sections_at] {
            program.extend_from_slice(&number.to_le_bytes());
        }
        program.extend_from_slice(&0_u32.to_le_bytes());
        for number in [64_u16, 0, 0, 64, 3, 2] {
            program.extend_from_slice(&number.to_le_bytes());
        }
        program.extend_from_slice(&data);
        program.extend_from_slice(names);
        let section = |name: u32, kind: u32, at: u64, size: u64| {
            let mut section = Vec::new();
            section.extend_from_slice(&name.to_le_bytes());
            section.extend_from_slice(&kind.to_le_bytes());
            for number in [0, 0, at, size] {
                section.extend_from_slice(&number.to_le_bytes());
            }
            section.resize(64, 0);
            section
        };
        program.extend(section(0, 0, 0, 0));
        program.extend(section(1, 1, data_at, data.len() as u64));
        program.extend(section(9, 3, names_at, names.len() as u64));
        program
    }

    /// The path of the program's own module, and the packages in it.
    fn read(program: &[u8], piece: usize) -> (String, Vec<String>) {
        let mut search = GoSearch::default();
        for bytes in program.chunks(piece) {
            search.feed(bytes);
        }
        let found = search.finish();
        let packages = found.packages.iter();
        let packages = packages.map(|one| format!("{}@{}", one.name, one.version));
        (found.path, packages.collect())
    }

    #[test]
    fn go_programs_tell_their_modules_however_they_are_read() {
        let mut program = b"\xff Go buildinf:\x08\x00 a decoy".to_vec();
        program.extend(go_program("go1.20.1", MODULES));
        let expected = ["stdlib@1.20.1", "golang.org/x/net@v0.1.0", "c.com/d@v1.2.0"];
        for piece in [1, 7, 64, 10_000] {
            let (path, packages) = read(&program, piece);
            assert_eq!(path, "x.org/x", "pieces of {piece}");
            assert_eq!(packages, expected, "pieces of {piece}");
        }
        assert!(read(&program[..400], 64).1.is_empty());
        assert!(read(b"\x7fELF nothing", 5).1.is_empty());
    }

    /// Each magic names a version of two million bytes, which are there.
    #[test]
    fn repeated_magics_are_passed_over() {
        let mut magic = GO_MAGIC.to_vec();
        magic.extend([8, GO_INLINE_STRINGS]);
        magic.resize(GO_STRINGS_AT, 0);
        magic.extend([0x83, 0x89, 0x7a]);
        let mut program = magic.repeat(100_000);
        program.extend(go_program("go1.21.3", "path\tx\nmod\tx.org/x\tv1.0.0\n"));
        let (module, packages) = read(&program, 64 * 1024);
        assert_eq!(module, "x.org/x");
        assert_eq!(packages, ["stdlib@1.21.3", "x.org/x@v1.0.0"]);
    }

    #[test]
    fn auditable_programs_tell_their_crates() {
        let json = r#"{"packages": [{"name": "own", "version": "1.0.0", "source": "local",
            "root": true}, {"name": "cc", "version": "1.0.0", "source": "crates.io",
            "kind": "build"}, {"name": "time", "version": "0.1.43", "source": "crates.io"}]}"#;
        let found = auditable(&auditable_program(json));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].version.as_str()),
            ("time", "0.1.43")
        );
        assert!(auditable(b"\x7fELF").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn damaged_programs_never_panic(
            at in 0..600_usize, byte in proptest::num::u8::ANY, cut in 0..600_usize,
        ) {
            let mut program = go_program("go1.20.1", MODULES);
            program.extend(auditable_program(r#"{"packages": []}"#));
            if let Some(target) = program.get_mut(at) {
                *target = byte;
            }
            program.truncate(cut.max(10));
            let _ = read(&program, 50);
            let _ = auditable(&program);
        }
    }
}
