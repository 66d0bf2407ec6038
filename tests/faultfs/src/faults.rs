//! Which operations fail: at random, or by a rule for the next one.

use fuser::Errno;

use crate::random::Random;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Write,
    /// The kernel writes pages to the device between two operations of the program.
    WriteBack,
    Sync,
    SyncDirectory,
    /// Every change of a name.
    Name,
}

impl Operation {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "write" => Self::Write,
            "write-back" => Self::WriteBack,
            "sync" => Self::Sync,
            "sync-directory" => Self::SyncDirectory,
            "name" => Self::Name,
            _ => return None,
        })
    }
}

/// The next operation of this kind on a name that contains `name` fails.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) operation: Operation,
    pub(crate) name: String,
    pub(crate) error: Errno,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// One operation in so many fails; none for zero.
    pub(crate) one_in: u64,
    pub(crate) rules: Vec<Rule>,
    /// Faults so far.
    pub(crate) count: u64,
}

impl Faults {
    /// Whether this operation fails, and how.
    pub(crate) fn strike(
        &mut self,
        operation: Operation,
        name: &str,
        random: &mut Random,
    ) -> Option<Errno> {
        let rule = self
            .rules
            .iter()
            .position(|rule| rule.operation == operation && name.contains(&rule.name));
        let error = match rule {
            Some(at) => self.rules.remove(at).error,
            // The shared memory of SQLite's log is no durable data; it lives in memory on a real
            // disk too.
            None if name.ends_with("-shm") || !random.one_in(self.one_in) => return None,
            None if random.coin() => Errno::EIO,
            None => Errno::ENOSPC,
        };
        self.count += 1;
        Some(error)
    }
}
