//! The packages that one file names, up to as many as an image may have. PURE.

use crate::package::Package;

/// Collects packages.
#[derive(Debug)]
pub(crate) struct Found {
    packages: Vec<Package>,
    most: usize,
    unread: Option<String>,
}

impl Found {
    /// `most` is a number of packages that is too large already: who counts them notices it, and
    /// no more of them are kept.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            packages: Vec::new(),
            most,
            unread: None,
        }
    }

    /// Takes a package; nothing once it is full.
    pub(crate) fn add(&mut self, package: Package) {
        if !self.is_full() {
            self.packages.push(package);
        }
    }

    /// Whether reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.packages.len() >= self.most
    }

    /// How many more packages it takes.
    pub(super) fn left(&self) -> usize {
        self.most - self.packages.len()
    }

    /// Takes what another one has found.
    pub(super) fn append(&mut self, other: Self) {
        self.packages.extend(other.packages);
    }

    /// Records that the file cannot be read, and why. Its packages do not count.
    pub(crate) fn refuse(&mut self, why: String) {
        self.unread = Some(why);
    }

    /// # Errors
    /// Why the file was not read.
    pub(crate) fn finish(self) -> Result<Vec<Package>, String> {
        match self.unread {
            Some(why) => Err(why),
            None => Ok(self.packages),
        }
    }
}
