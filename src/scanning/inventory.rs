//! The inventory of an image: every package that its layers bring and no later layer takes away.

mod archive;
mod binaries;
mod found;
mod go_modules;
mod java;
mod java_builds;
mod json_locks;
mod kind;
mod lock_files;
mod os;
mod pnpm;
mod rpm;
#[cfg(test)]
pub(crate) mod tests;
mod toml_locks;
mod unpack;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde::{Deserialize, Serialize};
pub use unpack::{LayerError, LimitReached, ScanLimits};

use crate::distribution::Distribution;
use crate::inventory::archive::{EntryKind, LayerEntry, read_entries};
use crate::inventory::found::Found;
use crate::inventory::go_modules::GoModule;
use crate::inventory::kind::FileKind;
use crate::inventory::unpack::Unpacked;
use crate::package::Package;

/// The largest text file that is read, in bytes: dpkg's status of 4,000 packages takes 4 MiB.
const MAX_TEXT_BYTES: u64 = 32 * 1024 * 1024;
/// The largest program or archive that is read as a whole, in bytes.
const MAX_WHOLE_BYTES: u64 = 64 * 1024 * 1024;
/// The largest database of RPM, in bytes.
const MAX_RPM_BYTES: u64 = 96 * 1024 * 1024;
/// Read at once of a program.
const PIECE_BYTES: usize = 64 * 1024;
/// The most bytes of texts that are kept of an image: paths, names and versions. 50,000 packages
/// with 200 bytes each have 10 MB.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;
/// The most remarks about files that were not read.
const MAX_REMARKS: usize = 100;

/// The packages of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub distribution: Option<Distribution>,
    /// In the order of their kind, name, version and place.
    pub packages: Vec<Package>,
    /// Files that have packages and were not read, each with the reason.
    pub unread: Vec<String>,
}

/// What a file of the image tells.
enum Fact {
    Packages(Vec<Package>),
    /// The main module of a program, and what it was built from.
    GoProgram(GoModule),
    /// The sources of a module.
    GoMod(GoModule),
    GoSum(Vec<Package>),
    Distribution(Distribution),
    Unread(String),
}

impl Fact {
    fn packages(&mut self) -> Option<&mut Vec<Package>> {
        match self {
            Self::Packages(packages) | Self::GoSum(packages) => Some(packages),
            Self::GoProgram(module) | Self::GoMod(module) => Some(&mut module.packages),
            Self::Distribution(_) | Self::Unread(_) => None,
        }
    }

    /// The length of its texts other than those of packages, in bytes.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Packages(_) | Self::GoSum(_) => 0,
            Self::GoProgram(module) | Self::GoMod(module) => module.path.len(),
            Self::Distribution(found) => {
                found.id.len() + found.version.len() + found.pretty_name.len()
            }
            Self::Unread(why) => why.len(),
        }
    }
}

/// Reads layers, the lowest first.
pub struct InventoryBuilder {
    limits: ScanLimits,
    bytes_left: u64,
    entries_left: u64,
    packages: usize,
    /// Bytes of texts that are kept.
    kept_bytes: usize,
    layer: u32,
    /// Of lower layers, by path, with the layer that brought the file.
    lower: BTreeMap<String, (u32, Fact)>,
    /// Of the layer that is read. Its whiteouts are about lower ones, whatever their order.
    current: BTreeMap<String, Fact>,
}

impl InventoryBuilder {
    pub fn new(limits: ScanLimits) -> Self {
        Self {
            bytes_left: limits.unpacked_bytes,
            entries_left: limits.entries,
            limits,
            packages: 0,
            kept_bytes: 0,
            layer: 0,
            lower: BTreeMap::new(),
            current: BTreeMap::new(),
        }
    }

    /// Reads the next layer: a tar archive, as it is or with gzip or Zstandard.
    ///
    /// # Errors
    /// [`LayerError`]. The inventory is of no use after it.
    pub fn add_layer(&mut self, source: impl Read) -> Result<(), LayerError> {
        let unpacked = Unpacked::new(source, self.bytes_left, self.limits)?;
        let mut entries = self.entries_left;
        let read = read_entries(unpacked, &mut entries, |entry, content| {
            self.add_entry(entry, content)
        });
        self.bytes_left = self.bytes_left.saturating_sub(read?);
        self.entries_left = entries;
        for (path, fact) in std::mem::take(&mut self.current) {
            self.lower.insert(path, (self.layer, fact));
        }
        self.layer += 1;
        Ok(())
    }

    fn add_entry(
        &mut self,
        entry: &LayerEntry<'_>,
        content: &mut dyn Read,
    ) -> Result<(), LimitReached> {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", entry.path));
        if name == ".wh..wh..opq" {
            self.remove_below(folder);
            return Ok(());
        }
        if let Some(removed) = name.strip_prefix(".wh.") {
            let path = match folder {
                "" => removed.to_owned(),
                folder => format!("{folder}/{removed}"),
            };
            self.lower.remove(&path);
            self.remove_below(&path);
            return Ok(());
        }
        self.lower.remove(entry.path);
        self.current.remove(entry.path);
        if entry.kind == EntryKind::Folder {
            return Ok(());
        }
        self.remove_below(entry.path);
        if entry.kind == EntryKind::File
            && let Some(kind) = FileKind::of(entry.path, entry.executable)
            && let Some(mut fact) = self.read_file(kind, entry, content)?
        {
            self.count(entry.path, &mut fact)?;
            self.current.insert(entry.path.to_owned(), fact);
        }
        Ok(())
    }

    /// Counts what is kept of a file. Each of its packages gets the path. A file without packages
    /// counts as one.
    fn count(&mut self, path: &str, fact: &mut Fact) -> Result<(), LimitReached> {
        let mut bytes = path.len().saturating_add(fact.text_bytes());
        let mut packages = 0_usize;
        if let Some(found) = fact.packages() {
            found.retain(Package::is_storable);
            packages = found.len();
            bytes = bytes.saturating_add(packages.saturating_mul(path.len()));
            let texts = found.iter().map(Package::text_bytes);
            bytes = bytes.saturating_add(texts.sum());
        }
        self.packages = self.packages.saturating_add(packages.max(1));
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        if self.packages > self.limits.packages || self.kept_bytes > MAX_KEPT_BYTES {
            return Err(LimitReached::Packages);
        }
        Ok(())
    }

    /// Forgets what lower layers have in a folder.
    fn remove_below(&mut self, folder: &str) {
        let start = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let inside = self.lower.range(start.clone()..);
        let inside = inside.take_while(|(path, _)| path.starts_with(&start));
        let paths: Vec<String> = inside.map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.lower.remove(&path);
        }
    }

    /// What a file tells; `None` where that is nothing.
    fn read_file(
        &self,
        kind: FileKind,
        entry: &LayerEntry<'_>,
        content: &mut dyn Read,
    ) -> Result<Option<Fact>, LimitReached> {
        if kind == FileKind::Program {
            return Ok(program(content));
        }
        let most = kind.most_bytes();
        if entry.size > most {
            let why = format!("{}: larger than {most} bytes", entry.path);
            return Ok(Some(Fact::Unread(why)));
        }
        let Some(bytes) = whole(content, most) else {
            return Ok(None);
        };
        let text = || String::from_utf8_lossy(&bytes);
        // One more than the limit, so that more packages than that are noticed.
        let limit = self.limits.packages.saturating_add(1);
        let packages = match kind {
            FileKind::Program => return Ok(None),
            FileKind::GoMod => {
                let module = go_modules::go_mod(&text(), &self.limits)?;
                return Ok(Some(Fact::GoMod(module)));
            }
            FileKind::GoSum => {
                let modules = go_modules::go_sum(&text(), &self.limits)?;
                return Ok((!modules.is_empty()).then_some(Fact::GoSum(modules)));
            }
            FileKind::Rpm(format) => {
                match rpm::packages(format, bytes, limit, self.limits.deadline) {
                    Ok(packages) => packages,
                    Err(error) => {
                        // SQLite may name a part of the file.
                        let why = error.replace('\0', " ");
                        return Ok(Some(Fact::Unread(format!("{}: {why}", entry.path))));
                    }
                }
            }
            FileKind::Java => {
                let name = entry.path.rsplit('/').next().unwrap_or_default();
                java::archive(&bytes, name, self.limits.deadline)
            }
            FileKind::OsRelease => return Ok(os::os_release(&text()).map(Fact::Distribution)),
            FileKind::Text(read) => {
                let mut found = Found::new(limit);
                read(&text(), &mut found);
                match found.finish() {
                    Ok(packages) => packages,
                    Err(why) => {
                        let why = format!("{}: {why}", entry.path);
                        return Ok(Some(Fact::Unread(why)));
                    }
                }
            }
        };
        Ok((!packages.is_empty()).then_some(Fact::Packages(packages)))
    }

    /// The inventory of the layers that were read.
    pub fn finish(self) -> Inventory {
        let mut inventory = Inventory::default();
        let mut facts = self.lower;
        remove_former_databases(&mut facts);
        remove_covered_modules(&mut facts);
        for (path, (layer, mut fact)) in facts {
            if let Some(packages) = fact.packages() {
                let packages = std::mem::take(packages).into_iter();
                inventory.packages.extend(packages.map(|package| Package {
                    path: path.clone(),
                    layer,
                    ..package
                }));
            }
            match fact {
                // `etc/os-release` comes first, and is what the image says of itself.
                Fact::Distribution(found) => {
                    inventory.distribution.get_or_insert(found);
                }
                Fact::Unread(why) if inventory.unread.len() < MAX_REMARKS => {
                    inventory.unread.push(why);
                }
                _ => {}
            }
        }
        inventory.packages.sort();
        inventory.packages.dedup();
        inventory
    }
}

/// Removes databases of RPM that stand beside one in a newer format: RPM reads one of them only,
/// and an older one lists what was installed before it changed its format.
fn remove_former_databases(facts: &mut BTreeMap<String, (u32, Fact)>) {
    for folder in kind::RPM_FOLDERS {
        let mut names = kind::RPM_DATABASES.iter();
        let newest = names.find(|name| {
            let fact = facts.get(&format!("{folder}/{name}"));
            fact.is_some_and(|(_, fact)| matches!(fact, Fact::Packages(_)))
        });
        if newest.is_some() {
            for older in names {
                facts.remove(&format!("{folder}/{older}"));
            }
        }
    }
}

/// Removes lists of Go modules that a better one covers: a program tells what it was really built
/// from, and `go.mod` what is selected of `go.sum`.
fn remove_covered_modules(facts: &mut BTreeMap<String, (u32, Fact)>) {
    let programs = facts.values().filter_map(|(_, fact)| match fact {
        Fact::GoProgram(module) if !module.path.is_empty() => Some(module.path.clone()),
        _ => None,
    });
    let built: BTreeSet<String> = programs.collect();
    let is_covered = |path: &str, fact: &Fact| match fact {
        Fact::GoMod(module) => built.contains(&module.path),
        Fact::GoSum(_) => path
            .strip_suffix("go.sum")
            .is_some_and(|folder| facts.contains_key(&format!("{folder}go.mod"))),
        _ => false,
    };
    let all = facts.iter();
    let covered = all.filter(|(path, (_, fact))| is_covered(path, fact));
    let covered: Vec<String> = covered.map(|(path, _)| path.clone()).collect();
    for path in covered {
        facts.remove(&path);
    }
}

impl FileKind {
    fn most_bytes(self) -> u64 {
        match self {
            Self::Rpm(_) => MAX_RPM_BYTES,
            Self::Java | Self::Program => MAX_WHOLE_BYTES,
            Self::OsRelease | Self::GoMod | Self::GoSum | Self::Text(_) => MAX_TEXT_BYTES,
        }
    }
}

/// The content of a file. A file that ends too soon is an error of the archive, which reading on
/// finds.
fn whole(content: &mut dyn Read, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What a program was built from; `None` where it does not tell.
fn program(content: &mut dyn Read) -> Option<Fact> {
    let mut search = binaries::GoSearch::default();
    let mut start = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut length = 0_u64;
    loop {
        let read = match content.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let bytes = &piece[..read];
        if length == 0 && !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        length += read as u64;
        search.feed(bytes);
        if length <= MAX_WHOLE_BYTES {
            start.extend_from_slice(bytes);
        } else {
            // Its section headers are at the end: without all of it they are of no use.
            start = Vec::new();
        }
    }
    let module = search.finish();
    if !module.packages.is_empty() {
        return Some(Fact::GoProgram(module));
    }
    let crates = binaries::auditable(&start);
    (!crates.is_empty()).then_some(Fact::Packages(crates))
}
