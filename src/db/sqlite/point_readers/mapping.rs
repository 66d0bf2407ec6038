//! Whether a connection reads through a map of the index file or by calls. PURE.
//!
//! A page of the map is neither copied nor looked for in a cache, but SQLite drops the whole map
//! after each commit, and the next read pays for a new one: while tasks start, that was a sixth of
//! the server's processor time.

/// Maps the index file, as much as SQLite takes. A failing disk then ends the process (SIGBUS), as
/// it would in any program that maps its files; nothing is lost by that.
const MAP: &str = "PRAGMA mmap_size = 2147418112";
const UNMAP: &str = "PRAGMA mmap_size = 0";

/// Reads after which the way to read is chosen anew.
const PERIOD_READS: u32 = 256;
/// With more new snapshots in a period, the file is not mapped; with fewer than the second figure
/// it is. In between it stays as it is.
const MOST_SNAPSHOTS: u32 = PERIOD_READS / 32;
const FEW_SNAPSHOTS: u32 = PERIOD_READS / 128;

/// How a connection reads, and what it has seen since that was chosen.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// `None` until the first read.
    is_mapped: Option<bool>,
    reads: u32,
    snapshots: u32,
    last_version: Option<u64>,
}

impl Mapping {
    /// Notes a read.
    pub(super) fn reads(&mut self) {
        self.reads = self.reads.saturating_add(1);
    }

    /// Notes that the connection takes a snapshot of this version, or of one that is being made.
    /// Returns the statement that is to be run before, if the connection shall read in another way.
    pub(super) fn opens(&mut self, version: Option<u64>) -> Option<&'static str> {
        if version.is_none() || version != self.last_version {
            self.snapshots += 1;
        }
        self.last_version = version;
        let was_mapped = self.is_mapped;
        if self.reads >= PERIOD_READS {
            if self.snapshots > MOST_SNAPSHOTS {
                self.is_mapped = Some(false);
            } else if self.snapshots < FEW_SNAPSHOTS {
                self.is_mapped = Some(true);
            }
            (self.reads, self.snapshots) = (0, 0);
        }
        let is_mapped = *self.is_mapped.get_or_insert(true);
        (was_mapped != Some(is_mapped)).then_some(if is_mapped { MAP } else { UNMAP })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statements of `reads` reads, with a commit before each one whose number `step` divides.
    fn run(mapping: &mut Mapping, reads: u64, step: u64) -> Vec<&'static str> {
        let mut statements = Vec::new();
        let start = mapping.last_version.unwrap_or_default();
        for number in 0..reads {
            mapping.reads();
            // A snapshot is also taken anew by age, of the same version.
            statements.extend(mapping.opens(Some(start + number / step)));
        }
        statements
    }

    #[test]
    fn the_file_is_mapped_at_first_and_while_little_is_written() {
        let mut mapping = Mapping::default();
        assert_eq!(run(&mut mapping, 1, 1), [MAP]);
        assert_eq!(run(&mut mapping, 10_000, 1_000), [""; 0]);
    }

    #[test]
    fn the_file_is_not_mapped_while_much_is_written() {
        let mut mapping = Mapping::default();
        assert_eq!(run(&mut mapping, 1_000, 1), [MAP, UNMAP]);
        // One commit in 64 reads is between the bounds.
        assert_eq!(run(&mut mapping, 10_000, 64), [""; 0]);
        assert_eq!(run(&mut mapping, 10_000, 1_000), [MAP]);
    }

    #[test]
    fn a_commit_under_way_counts_as_another_version() {
        let mut mapping = Mapping::default();
        let statements = (0..257).filter_map(|_| {
            mapping.reads();
            mapping.opens(None)
        });
        assert_eq!(statements.collect::<Vec<_>>(), [MAP, UNMAP]);
    }
}
