//! A server's process: started, measured through `/proc` (children included), stopped when dropped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Linux counts process times in hundredths of a second, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server gets this long to stop after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(10);

pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`; what it prints goes to `log` (stderr) and `output` (stdout).
    pub(crate) fn spawn(command: &mut Command, log: &Path, output: &Path) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(output)?)
            .stderr(File::options().create(true).append(true).open(log)?)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        Ok(Self { child })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process and its children.
    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut at = 0;
        while at < pids.len() {
            let path = format!("/proc/{pid}/task/{pid}/children", pid = pids[at]);
            let children = fs::read_to_string(path).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
            at += 1;
        }
        pids
    }

    /// Processor time used so far, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0_u64;
        for pid in self.pids() {
            let stat =
                fs::read_to_string(format!("/proc/{pid}/stat")).context("a server has ended")?;
            let fields = stat
                .rsplit_once(')')
                .context("/proc/PID/stat is unreadable")?
                .1;
            // Fields 14 and 15 of proc(5); the first after the name is field 3.
            ticks += fields
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|field| field.parse::<u64>().ok())
                .sum::<u64>();
        }
        Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
    }

    /// Resident memory in MB (10^6 bytes), summed over the processes.
    pub(crate) fn rss_mb(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Peak resident memory in MB since the start or the last `reset_peak`, summed over the
    /// processes.
    pub(crate) fn peak_rss_mb(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let kib = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        self.pids().into_iter().filter_map(kib).sum::<f64>() * 1024.0 / 1e6
    }

    /// Lowers the remembered peak to what is resident now (proc(5), `clear_refs`).
    pub(crate) fn reset_peak(&self) {
        for pid in self.pids() {
            // Where the kernel refuses, the peak since the start is reported: larger, never
            // smaller.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }
}

impl Process {
    /// Sends SIGTERM to the process, waits, and ends it by force when it does not.
    pub(crate) fn stop(&mut self) {
        if !self.runs() {
            return;
        }
        let _ = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        let deadline = Instant::now() + STOP_TIME;
        while self.runs() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
