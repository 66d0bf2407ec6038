//! A file system in memory that fails operations and forgets what was not synced, for tests.
//!
//! `faultfs DIRECTORY SEED` mounts it and reads commands from standard input, one a line, each of
//! which is acknowledged by a line:
//!
//! ```text
//! faults COUNT             one operation in COUNT fails from now on; none for 0
//! fail OPERATION NAME ERROR  the next such operation on a name that contains NAME fails;
//!                          OPERATION is write, write-back, sync, sync-directory or name,
//!                          ERROR is EIO or ENOSPC
//! power-cut                unmounts, forgets what was not synced (a random part of it stays),
//!                          mounts again; every process that used it must have ended
//! ```
//!
//! It is stricter than any disk file system: fsync of a file makes its bytes durable and nothing
//! else, fsync of a directory makes its names durable and nothing else, and a failed write of pages
//! or names to the device is reported once, to the descriptors that are open, after which the
//! kernel takes them for written. Reads with `O_DIRECT` come from the device.

mod disk;
mod faults;
mod file;
mod filesystem;
mod random;
mod tree;

use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fuser::{BackgroundSession, Config, Errno, MountOption, Session};

use crate::faults::{Operation, Rule};
use crate::filesystem::FaultFs;

/// How often unmounting is tried: the kernel lets go of the files of a killed process a moment
/// after the process is gone.
const UNMOUNT_TRIES: usize = 100;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments
        .next()
        .map(PathBuf::from)
        .context("faultfs DIRECTORY SEED")?;
    let seed = arguments.next().context("faultfs DIRECTORY SEED")?;
    let seed = seed
        .to_str()
        .and_then(|seed| seed.parse().ok())
        .context("the seed is a number")?;
    let file_system = FaultFs::new(seed);
    let mut mounted = Some(mount(&file_system, &directory)?);
    acknowledge("mounted")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line == "power-cut" {
            if let Some(session) = mounted.take() {
                unmount(session, &directory)?;
            }
            file_system.lock().cut_power();
            mounted = Some(mount(&file_system, &directory)?);
        } else {
            command(&file_system, &line)?;
        }
        let count = file_system.lock().faults.count;
        acknowledge(&format!("{count} faults"))?;
    }
    if let Some(session) = mounted.take() {
        unmount(session, &directory)?;
    }
    Ok(())
}

fn command(file_system: &FaultFs, line: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let faults = &mut file_system.lock().faults;
    match words[..] {
        ["faults", count] => faults.one_in = count.parse()?,
        ["fail", operation, name, error] => faults.rules.push(Rule {
            operation: Operation::parse(operation).context("no such operation")?,
            name: name.to_owned(),
            error: match error {
                "EIO" => Errno::EIO,
                "ENOSPC" => Errno::ENOSPC,
                _ => bail!("no such error"),
            },
        }),
        _ => bail!("no such command: {line}"),
    }
    Ok(())
}

fn acknowledge(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn mount(file_system: &FaultFs, directory: &Path) -> Result<BackgroundSession> {
    let mut options = Config::default();
    options.mount_options = vec![MountOption::FSName("faultfs".to_owned())];
    let session = Session::new(file_system.clone(), directory, &options);
    Ok(session.context("cannot mount")?.spawn()?)
}

fn unmount(session: BackgroundSession, directory: &Path) -> Result<()> {
    for _ in 0..UNMOUNT_TRIES {
        let unmounted = Command::new("umount").arg(directory).output()?;
        if unmounted.status.success() {
            // How the kernel ended the connection differs; that it has ended is what counts.
            let _ = session.join();
            return Ok(());
        }
        thread::sleep(UNMOUNT_PAUSE);
    }
    bail!("{} stays busy", directory.display())
}
