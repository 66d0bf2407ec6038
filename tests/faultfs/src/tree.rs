//! The tree of files and directories: names that readers see, and names that are on the device.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime};

use wharfinger_base::Clock;

use crate::file::{FileData, State};
use crate::random::Random;

pub(crate) const ROOT: u64 = 1;

/// The time of a change.
pub(crate) fn now() -> SystemTime {
    let ms = u64::try_from(Clock::System.now().as_ms()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// A file or directory.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) modified: SystemTime,
    /// The name it was last given, for rules that choose by name.
    pub(crate) name: String,
    /// Failed writes to the device, and whether somebody was told of the newest.
    pub(crate) failures: u64,
    pub(crate) reported: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    File(FileData),
    Directory(Entries),
}

/// The names in a directory.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) cached: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    /// Names that differ from the device.
    changed: BTreeMap<OsString, Change>,
}

#[derive(Debug)]
struct Change {
    state: State,
    /// The entry was renamed to this one, which reaches the device no later than its own removal.
    renamed_to: Option<(u64, OsString)>,
}

/// All nodes by number. Ordered, so that a seed repeats what it did.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            next: ROOT,
        };
        tree.add(Kind::Directory(Entries::default()), 0o755, "");
        tree
    }

    pub(crate) fn add(&mut self, kind: Kind, mode: u32, name: &str) -> u64 {
        let number = self.next;
        self.next += 1;
        let node = Node {
            kind,
            mode,
            modified: now(),
            name: name.to_owned(),
            failures: 0,
            reported: true,
        };
        self.nodes.insert(number, node);
        number
    }

    pub(crate) fn entries(&self, directory: u64) -> Option<&Entries> {
        match self.nodes.get(&directory).map(|node| &node.kind) {
            Some(Kind::Directory(entries)) => Some(entries),
            _ => None,
        }
    }

    fn entries_mut(&mut self, directory: u64) -> Option<&mut Entries> {
        match self.nodes.get_mut(&directory).map(|node| &mut node.kind) {
            Some(Kind::Directory(entries)) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn find(&self, directory: u64, name: &OsStr) -> Option<u64> {
        self.entries(directory)?.cached.get(name).copied()
    }

    /// Names that readers see for the node.
    pub(crate) fn links(&self, number: u64) -> u32 {
        let names = self.nodes.values().filter_map(|node| match &node.kind {
            Kind::Directory(entries) => Some(&entries.cached),
            Kind::File(_) => None,
        });
        let count = names
            .flat_map(BTreeMap::values)
            .filter(|found| **found == number)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Gives the name to another node, or to none, in the cache.
    pub(crate) fn set(&mut self, directory: u64, name: &OsStr, number: Option<u64>) {
        self.change(directory, name, number, None);
    }

    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), number: u64) {
        self.change(to.0, to.1, Some(number), None);
        self.change(from.0, from.1, None, Some((to.0, to.1.to_owned())));
        if let Some(node) = self.nodes.get_mut(&number) {
            node.name = to.1.to_string_lossy().into_owned();
        }
    }

    fn change(
        &mut self,
        directory: u64,
        name: &OsStr,
        number: Option<u64>,
        renamed_to: Option<(u64, OsString)>,
    ) {
        let Some(entries) = self.entries_mut(directory) else {
            return;
        };
        match number {
            Some(number) => entries.cached.insert(name.to_owned(), number),
            None => entries.cached.remove(name),
        };
        let change = Change {
            state: State::Dirty,
            renamed_to,
        };
        entries.changed.insert(name.to_owned(), change);
    }

    /// Writes the directory's changed names to the device.
    pub(crate) fn sync(&mut self, directory: u64) {
        for name in self.dirty_names(directory) {
            self.persist(directory, &name);
        }
    }

    /// Some changed names reach the device, the others are lost.
    pub(crate) fn fail_write_back(&mut self, directory: u64, random: &mut Random) {
        for name in self.dirty_names(directory) {
            if random.coin() {
                self.persist(directory, &name);
            }
        }
        if let Some(entries) = self.entries_mut(directory) {
            for change in entries.changed.values_mut() {
                change.state = State::Lost;
            }
        }
    }

    fn dirty_names(&self, directory: u64) -> Vec<OsString> {
        let changed = self.entries(directory).map(|entries| &entries.changed);
        let dirty = changed.into_iter().flatten();
        let dirty = dirty.filter(|(_, change)| change.state == State::Dirty);
        dirty.map(|(name, _)| name.clone()).collect()
    }

    /// Brings one name to the device. A file that was renamed is never without any name there.
    fn persist(&mut self, directory: u64, name: &OsStr) {
        let Some(entries) = self.entries_mut(directory) else {
            return;
        };
        let Some(change) = entries.changed.get_mut(name) else {
            return;
        };
        if let Some((target, target_name)) = change.renamed_to.take() {
            let waits = self
                .entries(target)
                .and_then(|entries| entries.changed.get(&target_name));
            match waits.map(|change| change.state) {
                Some(State::Lost) => return,
                Some(State::Dirty) => self.persist(target, &target_name),
                None => {}
            }
        }
        let Some(entries) = self.entries_mut(directory) else {
            return;
        };
        entries.changed.remove(name);
        match entries.cached.get(name).copied() {
            Some(number) => entries.durable.insert(name.to_owned(), number),
            None => entries.durable.remove(name),
        };
    }

    /// Power fails: of what was not synced, a random part is on the device.
    pub(crate) fn cut_power(&mut self, random: &mut Random) {
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        for number in numbers {
            for name in self.dirty_names(number) {
                if random.coin() {
                    self.persist(number, &name);
                }
            }
        }
        for node in self.nodes.values_mut() {
            node.failures = 0;
            node.reported = true;
            match &mut node.kind {
                Kind::File(file) => file.cut_power(random),
                Kind::Directory(entries) => {
                    entries.changed.clear();
                    entries.cached = entries.durable.clone();
                }
            }
        }
        self.drop_unreachable();
    }

    fn drop_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(number) = open.pop() {
            let names = self.entries(number).map(|entries| &entries.cached);
            for child in names.into_iter().flat_map(BTreeMap::values) {
                if reachable.insert(*child) {
                    open.push(*child);
                }
            }
        }
        self.nodes.retain(|number, _| reachable.contains(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tree: &mut Tree, name: &str) -> u64 {
        let number = tree.add(Kind::File(FileData::default()), 0o644, name);
        tree.set(ROOT, OsStr::new(name), Some(number));
        number
    }

    #[test]
    fn a_name_is_durable_once_its_directory_was_synced() {
        let mut random = Random::new(1);
        let mut forgotten = 0;
        for _ in 0..100 {
            let mut tree = Tree::new();
            let synced = file(&mut tree, "synced");
            tree.sync(ROOT);
            file(&mut tree, "new");
            tree.cut_power(&mut random);
            assert_eq!(tree.find(ROOT, OsStr::new("synced")), Some(synced));
            forgotten += usize::from(tree.find(ROOT, OsStr::new("new")).is_none());
        }
        assert!((20..80).contains(&forgotten), "{forgotten}");
    }

    #[test]
    fn a_renamed_file_has_one_of_its_names_after_a_power_cut() {
        let mut random = Random::new(2);
        let mut names = BTreeSet::new();
        for _ in 0..100 {
            let mut tree = Tree::new();
            let number = file(&mut tree, "old");
            let other = tree.add(Kind::Directory(Entries::default()), 0o755, "other");
            tree.set(ROOT, OsStr::new("other"), Some(other));
            tree.sync(ROOT);
            tree.rename(
                (ROOT, OsStr::new("old")),
                (other, OsStr::new("new")),
                number,
            );
            tree.cut_power(&mut random);
            let old = tree.find(ROOT, OsStr::new("old")).is_some();
            let new = tree.find(other, OsStr::new("new")).is_some();
            assert!(old || new);
            names.insert((old, new));
        }
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_name_that_could_not_be_written_stays_lost_until_it_changes() {
        let mut random = Random::new(3);
        let mut lost = 0;
        for _ in 0..100 {
            let mut tree = Tree::new();
            file(&mut tree, "name");
            tree.fail_write_back(ROOT, &mut random);
            tree.sync(ROOT);
            tree.cut_power(&mut random);
            lost += usize::from(tree.find(ROOT, OsStr::new("name")).is_none());
        }
        assert!((20..80).contains(&lost), "{lost}");
    }
}
