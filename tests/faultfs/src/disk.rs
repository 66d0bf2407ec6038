//! What the file system holds, and its operations, as a disk and the page cache over it do them.

use std::collections::HashMap;
use std::ffi::OsStr;

use fuser::{Errno, FileAttr, FileHandle, FileType, INodeNo, RenameFlags, TimeOrNow};

use crate::faults::{Faults, Operation};
use crate::file::{FileData, PAGE};
use crate::random::Random;
use crate::tree::{Kind, Node, Tree, now};

/// `O_DIRECT` on the architectures that have the common value.
const DIRECT: i32 = if cfg!(target_arch = "aarch64") {
    0o200_000
} else {
    0o40_000
};

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) tree: Tree,
    handles: HashMap<u64, Handle>,
    next_handle: u64,
    random: Random,
    pub(crate) faults: Faults,
}

/// An open descriptor.
#[derive(Debug)]
struct Handle {
    /// Reads come from the device.
    direct: bool,
    /// Failures of the file that this descriptor was told of, or that others were before it was
    /// opened.
    told: u64,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            tree: Tree::new(),
            handles: HashMap::new(),
            next_handle: 1,
            random: Random::new(seed),
            faults: Faults::default(),
        }
    }

    pub(crate) fn close(&mut self, handle: FileHandle) {
        self.handles.remove(&handle.0);
    }

    /// Changes attributes and the length.
    pub(crate) fn set_attributes(
        &mut self,
        number: INodeNo,
        mode: Option<u32>,
        size: Option<u64>,
        modified: Option<TimeOrNow>,
    ) -> Result<FileAttr, Errno> {
        let node = self.node(number)?;
        node.mode = mode.unwrap_or(node.mode);
        match modified {
            Some(TimeOrNow::SpecificTime(time)) => node.modified = time,
            Some(TimeOrNow::Now) => node.modified = now(),
            None => {}
        }
        if let (Some(size), Kind::File(file)) = (size, &mut node.kind) {
            file.truncate(usize::try_from(size).map_err(|_| Errno::EFBIG)?);
        }
        self.attributes(number.0)
    }

    /// Another name for a file.
    pub(crate) fn link(
        &mut self,
        number: INodeNo,
        parent: INodeNo,
        name: &OsStr,
    ) -> Result<FileAttr, Errno> {
        self.fails(Operation::Name, &name.to_string_lossy())?;
        self.tree.set(parent.0, name, Some(number.0));
        self.attributes(number.0)
    }

    /// Power fails. The file system must not be mounted.
    pub(crate) fn cut_power(&mut self) {
        self.tree.cut_power(&mut self.random);
        self.handles.clear();
        self.faults.rules.clear();
    }

    fn node(&mut self, number: INodeNo) -> Result<&mut Node, Errno> {
        self.tree.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)
    }

    fn file(&mut self, number: INodeNo) -> Result<&mut FileData, Errno> {
        match &mut self.node(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.tree.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let (kind, size, links) = match &node.kind {
            Kind::File(file) => (
                FileType::RegularFile,
                file.length(),
                self.tree.links(number),
            ),
            Kind::Directory(_) => (FileType::Directory, PAGE, 2),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size: size as u64,
            blocks: size.div_ceil(512) as u64,
            atime: node.modified,
            mtime: node.modified,
            ctime: node.modified,
            crtime: node.modified,
            kind,
            perm: u16::try_from(node.mode & 0o7777).unwrap_or(0o600),
            nlink: links,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn fails(&mut self, operation: Operation, name: &str) -> Result<(), Errno> {
        match self.faults.strike(operation, name, &mut self.random) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(crate) fn open(&mut self, number: INodeNo, flags: i32) -> Result<FileHandle, Errno> {
        let node = self.node(number)?;
        // A failure that nobody was told of yet is reported to whoever opens the file next.
        let told = node.failures - u64::from(!node.reported);
        let handle = Handle {
            direct: flags & DIRECT != 0,
            told,
        };
        let id = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(id, handle);
        Ok(FileHandle(id))
    }

    pub(crate) fn create(
        &mut self,
        parent: INodeNo,
        name: &OsStr,
        kind: Kind,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        let text = name.to_string_lossy();
        self.fails(Operation::Name, &text)?;
        if self.tree.find(parent.0, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let number = self.tree.add(kind, mode, &text);
        self.tree.set(parent.0, name, Some(number));
        self.attributes(number)
    }

    pub(crate) fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        self.fails(Operation::Name, &name.to_string_lossy())?;
        let number = self.tree.find(parent.0, name).ok_or(Errno::ENOENT)?;
        if self
            .tree
            .entries(number)
            .is_some_and(|entries| !entries.cached.is_empty())
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.tree.set(parent.0, name, None);
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        self.fails(Operation::Name, &to.1.to_string_lossy())?;
        let number = self.tree.find(from.0.0, from.1).ok_or(Errno::ENOENT)?;
        let present = self.tree.find(to.0.0, to.1);
        if !flags.is_empty() {
            return Err(Errno::EINVAL);
        }
        if present.is_some_and(|present| self.tree.entries(present).is_some()) {
            return Err(Errno::EISDIR);
        }
        self.tree.rename((from.0.0, from.1), (to.0.0, to.1), number);
        Ok(())
    }

    pub(crate) fn write(&mut self, number: INodeNo, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let name = self.node(number)?.name.clone();
        self.fails(Operation::Write, &name)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        self.file(number)?.write(offset, data);
        self.node(number)?.modified = now();
        // The kernel writes back when it likes; nobody is told of an error before the next sync.
        if self
            .faults
            .strike(Operation::WriteBack, &name, &mut self.random)
            .is_some()
        {
            self.lose(number)?;
        }
        Ok(())
    }

    /// A write to the device fails.
    fn lose(&mut self, number: INodeNo) -> Result<(), Errno> {
        let node = self.tree.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)?;
        node.failures += 1;
        node.reported = false;
        match &mut node.kind {
            Kind::File(file) => file.fail_write_back(&mut self.random),
            Kind::Directory(_) => self.tree.fail_write_back(number.0, &mut self.random),
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, number: INodeNo, handle: FileHandle) -> Result<(), Errno> {
        let node = self.node(number)?;
        let name = node.name.clone();
        let operation = match node.kind {
            Kind::File(_) => Operation::Sync,
            Kind::Directory(_) => Operation::SyncDirectory,
        };
        let error = self.faults.strike(operation, &name, &mut self.random);
        if error.is_some() {
            self.lose(number)?;
        } else {
            match &mut self.node(number)?.kind {
                Kind::File(file) => file.sync(),
                Kind::Directory(_) => self.tree.sync(number.0),
            }
        }
        let node = self.tree.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)?;
        let handle = self.handles.get_mut(&handle.0).ok_or(Errno::EBADF)?;
        if handle.told == node.failures {
            return Ok(());
        }
        handle.told = node.failures;
        node.reported = true;
        Err(error.unwrap_or(Errno::EIO))
    }

    pub(crate) fn read(
        &mut self,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, Errno> {
        let direct = self
            .handles
            .get(&handle.0)
            .is_some_and(|handle| handle.direct);
        let offset = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let file = self.file(number)?;
        Ok(if direct {
            file.read_device(offset, size as usize)
        } else {
            file.read(offset, size as usize)
        })
    }
}
