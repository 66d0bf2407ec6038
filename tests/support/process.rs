//! The program as a process: a running server, and single commands beside it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wharfinger");

/// Longest time from SIGTERM to the end of an idle server.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A command of the program on a data folder, without the environment of the tests.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("WHARFINGER_DATA_DIR", folder)
        // Tests must not find a cluster where there is a Docker Engine.
        .env("WHARFINGER_LOCAL_CLUSTERS", "none")
        .current_dir(folder);
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder)
        .args(arguments)
        .output()
        .expect("the program runs")
}

/// Runs a command that must succeed; returns what it printed.
#[track_caller]
pub(crate) fn run_ok(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The value of a variable in the `export` lines that the program prints.
#[track_caller]
pub(crate) fn exported(printed: &str, variable: &str) -> String {
    let mut lines = printed.lines();
    let value = lines.find_map(|line| {
        let line = line.strip_prefix("export ")?.strip_prefix(variable)?;
        line.strip_prefix('=')
    });
    value
        .unwrap_or_else(|| panic!("no {variable} in {printed:?}"))
        .to_owned()
}

/// A running server; it is killed when this value is dropped.
pub(crate) struct Process {
    child: Child,
    /// Host and port that it listens on.
    pub(crate) address: String,
    /// What it has logged until now.
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a server on a port that the system chooses, and waits until it serves.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = command(folder)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr"));
        let log = Arc::new(Mutex::new(String::new()));
        let address = wait_until_serving(&mut lines, &log);
        let copy = Arc::clone(&log);
        std::thread::spawn(move || while read_line(&mut lines, &copy).is_some() {});
        Self {
            child,
            address,
            log,
        }
    }

    /// The next `count` lines of its standard output.
    pub(crate) fn printed_lines(&mut self, count: usize) -> String {
        let stdout = self.child.stdout.take().expect("stdout");
        let mut lines = BufReader::new(stdout);
        let mut printed = String::new();
        for _ in 0..count {
            lines.read_line(&mut printed).expect("a line");
        }
        printed
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while logging").clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Sends SIGTERM and waits for the end; returns what it printed.
    pub(crate) fn stop(mut self) -> String {
        self.signal("-TERM");
        let mut printed = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            let stdout: &mut ChildStdout = &mut stdout;
            stdout.read_to_string(&mut printed).expect("text");
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                assert!(status.success(), "{status}");
                return printed;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[expect(clippy::print_stderr, reason = "explains a test that failed")]
impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

/// Reads the log until it names the address that the server listens on.
fn wait_until_serving(lines: &mut BufReader<ChildStderr>, log: &Mutex<String>) -> String {
    while let Some(line) = read_line(lines, log) {
        if let Some((_, rest)) = line.split_once("serving address=") {
            let address = rest.split_whitespace().next();
            return address.expect("an address").to_owned();
        }
    }
    panic!("the server does not start: {}", log.lock().expect("a log"));
}

/// Copies a line to the log; `None` at the end.
fn read_line(lines: &mut BufReader<ChildStderr>, log: &Mutex<String>) -> Option<String> {
    let mut line = Vec::new();
    let length = lines.read_until(b'\n', &mut line).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    log.lock().expect("no panic while logging").push_str(&line);
    (length > 0).then_some(line)
}
