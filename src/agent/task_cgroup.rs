//! The limits of a whole task: a control group above those of its containers.
//!
//! Source: ECS developer guide, "Task size"; the kernel's documentation of control groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wharfinger_ecs_protocol::Task;

use crate::record::task_id;

/// Where the kernel shows control groups.
const ROOT: &str = "/sys/fs/cgroup";
/// The group of all tasks, as Amazon's agent calls it.
const ECS: &str = "ecs";
/// The period over which CPU time is divided, in microseconds.
const PERIOD_US: i64 = 100_000;
/// Least share of a period that the kernel takes.
const MIN_QUOTA_US: i64 = 1_000;

/// Makes the control group of a task that has a size, and returns it as Docker names it; `None` for
/// a task without a size.
///
/// # Errors
/// Those of the file system: without the rights for it, or with another kind of control groups.
pub(crate) fn make(task: &Task, driver: &str) -> io::Result<Option<String>> {
    let Some(limits) = Limits::of(task) else {
        return Ok(None);
    };
    if driver != "cgroupfs" {
        let message = format!("the engine makes control groups by {driver}");
        return Err(io::Error::other(message));
    }
    let id = task_id(&task.arn);
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        limits.make_unified(root, id)?;
    } else {
        limits.make_divided(root, id)?;
    }
    Ok(Some(format!("/{ECS}/{id}")))
}

/// Removes the control group of a task whose containers are gone.
///
/// # Errors
/// Those of the file system. A missing group is fine.
pub(crate) fn remove(task: &Task) -> io::Result<()> {
    match Limits::of(task) {
        Some(_) => remove_groups(Path::new(ROOT), task_id(&task.arn)),
        None => Ok(()),
    }
}

fn remove_groups(root: &Path, id: &str) -> io::Result<()> {
    // The engine makes groups in some or all hierarchies, or there is but one.
    let mut folders = vec![root.join(ECS).join(id)];
    let hierarchies = match fs::read_dir(root) {
        // There are no control groups, so that none was made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    for hierarchy in hierarchies {
        folders.push(hierarchy?.path().join(ECS).join(id));
    }
    for folder in folders {
        match fs::remove_dir(folder) {
            // Not every entry is a hierarchy.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The size of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    quota_us: Option<i64>,
    memory_bytes: Option<i64>,
}

impl Limits {
    fn of(task: &Task) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a task has some hundred CPUs at most"
        )]
        let quota = |cpus: f64| ((cpus * 100_000.0) as i64).max(MIN_QUOTA_US);
        let limits = Self {
            quota_us: task.cpu.filter(|cpus| *cpus > 0.0).map(quota),
            memory_bytes: task
                .memory
                .filter(|mib| *mib > 0)
                .map(|mib| mib * 1024 * 1024),
        };
        let any = limits.quota_us.is_some() || limits.memory_bytes.is_some();
        any.then_some(limits)
    }

    /// One hierarchy for all controllers (version 2).
    fn make_unified(self, root: &Path, id: &str) -> io::Result<()> {
        let ecs = root.join(ECS);
        let folder = ecs.join(id);
        fs::create_dir_all(&folder)?;
        for above in [root, &ecs] {
            fs::write(above.join("cgroup.subtree_control"), "+cpu +memory")?;
        }
        if let Some(quota) = self.quota_us {
            fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
        }
        if let Some(bytes) = self.memory_bytes {
            fs::write(folder.join("memory.max"), bytes.to_string())?;
        }
        Ok(())
    }

    /// A hierarchy for each controller (version 1).
    fn make_divided(self, root: &Path, id: &str) -> io::Result<()> {
        let folder = |controller: &str| -> io::Result<PathBuf> {
            let folder = root.join(controller).join(ECS).join(id);
            fs::create_dir_all(&folder)?;
            Ok(folder)
        };
        if let Some(quota) = self.quota_us {
            let folder = folder("cpu")?;
            fs::write(folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?;
        }
        if let Some(bytes) = self.memory_bytes {
            let folder = folder("memory")?;
            // Groups below count only where the kernel is told so, and only before there are any.
            let _ = fs::write(folder.join("memory.use_hierarchy"), "1");
            fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(cpu: Option<f64>, memory: Option<i64>) -> Task {
        Task {
            arn: "arn:task/demo/ab".to_owned(),
            cpu,
            memory,
            ..Task::default()
        }
    }

    #[test]
    fn a_size_is_a_quota_and_a_limit() {
        let limits = Limits::of(&sized(Some(0.25), Some(512))).expect("limits");
        assert_eq!(limits.quota_us, Some(25_000));
        assert_eq!(limits.memory_bytes, Some(536_870_912));
        assert_eq!(Limits::of(&sized(None, None)), None);
        let least = Limits::of(&sized(Some(0.001), None)).expect("limits");
        assert_eq!(least.quota_us, Some(MIN_QUOTA_US));
    }

    #[test]
    fn limits_are_written_for_both_kinds_of_groups() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits::of(&sized(Some(1.0), Some(1))).expect("limits");
        limits.make_unified(folder.path(), "ab").expect("written");
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).expect("a file");
        assert_eq!(read("ecs/ab/cpu.max"), "100000 100000");
        assert_eq!(read("ecs/ab/memory.max"), "1048576");
        limits.make_divided(folder.path(), "ab").expect("written");
        assert_eq!(read("cpu/ecs/ab/cpu.cfs_quota_us"), "100000");
        assert_eq!(read("memory/ecs/ab/memory.limit_in_bytes"), "1048576");
    }

    #[test]
    fn other_kinds_of_groups_are_refused() {
        assert!(make(&sized(Some(1.0), None), "systemd").is_err());
        assert_eq!(make(&sized(None, None), "systemd").expect("nothing"), None);
    }
}
