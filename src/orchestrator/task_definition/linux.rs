//! Linux parameters and kernel settings of a container.

use crate::model::LinuxParameters;
use crate::task_definition::error::Checked;
use crate::task_definition::error::{invalid_container, invalid_setting};
use crate::task_definition::names;

/// The capabilities that ECS takes. Source: ECS API reference, `KernelCapabilities`.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// The options of a tmpfs mount. Source: ECS API reference, `Tmpfs`.
const TMPFS_OPTIONS: &[&str] = &[
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];
/// Options of a tmpfs mount that have a value.
const TMPFS_VALUES: &[&str] = &["mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "mpol="];

/// Kernel settings of a container's own IPC namespace. Those of its network namespace start with
/// `net.`. Source: ECS API reference, `SystemControl`.
const IPC_CONTROLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn is_network_control(namespace: &str) -> bool {
    namespace.starts_with("net.")
}

pub(super) fn is_system_control(namespace: &str) -> bool {
    is_network_control(namespace)
        || namespace.starts_with("fs.mqueue.")
        || IPC_CONTROLS.contains(&namespace)
}

pub(super) fn check(name: &str, parameters: &LinuxParameters) -> Checked {
    if let Some(capabilities) = &parameters.capabilities {
        let both = capabilities.add.iter().chain(&capabilities.drop);
        for capability in both.flatten() {
            if !CAPABILITIES.contains(&capability.as_str()) {
                return Err(invalid_setting("capabilities", name));
            }
        }
    }
    for device in parameters.devices.iter().flatten() {
        let inside = device.container_path.as_deref();
        let permissions = device.permissions.iter().flatten();
        let known = ["read", "write", "mknod"];
        if !names::is_absolute(&device.host_path)
            || inside.is_some_and(|path| !names::is_absolute(path))
            || permissions
                .into_iter()
                .any(|permission| !known.contains(&permission.as_str()))
        {
            return Err(invalid_setting("devices", name));
        }
    }
    for tmpfs in parameters.tmpfs.iter().flatten() {
        let mut options = tmpfs.mount_options.iter().flatten();
        let known = |option: &String| {
            TMPFS_OPTIONS.contains(&option.as_str())
                || TMPFS_VALUES.iter().any(|prefix| option.starts_with(prefix))
        };
        if !names::is_absolute(&tmpfs.container_path)
            || tmpfs.size < 1
            || options.any(|option| !known(option) || option.contains(','))
        {
            return Err(invalid_setting("tmpfs", name));
        }
    }
    if parameters.shared_memory_size.is_some_and(|mib| mib < 1) {
        return Err(invalid_setting("sharedMemorySize", name));
    }
    if parameters.max_swap.is_some_and(|mib| mib < 0) {
        return Err(invalid_setting("maxSwap", name));
    }
    if parameters
        .swappiness
        .is_some_and(|value| !(0..=100).contains(&value))
    {
        return Err(invalid_container(
            name,
            "The 'swappiness' must be between 0 and 100.",
        ));
    }
    Ok(())
}
