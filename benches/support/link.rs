//! A network link of a limited rate between a client and a server: this program started anew, as a
//! proxy that forwards at an even pace. `limit_rate` of nginx counts whole seconds, so that what it
//! sends depends on the moment of the request.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::process::Process;
use super::server::{Server, free_address};

/// The argument that makes this program a link.
const ARGUMENT: &str = "--link";
/// Bytes that are forwarded at once.
const PIECE: usize = 64 * 1024;
/// What may come at once after a pause: the buffers of a switch.
const BURST: Duration = Duration::from_millis(2);

/// Starts a link to a registry, over which so many bytes a second come back.
pub(crate) fn start(
    folder: &std::path::Path,
    registry: SocketAddr,
    bytes_per_second: usize,
) -> anyhow::Result<Server> {
    std::fs::create_dir_all(folder)?;
    let address = free_address()?;
    let (log, output) = (folder.join("log"), folder.join("output"));
    let program = std::env::current_exe()?;
    let launch = move || {
        let values = [address.to_string(), registry.to_string()];
        let mut command = Command::new(&program);
        command.arg(ARGUMENT).args(values);
        command.arg(bytes_per_second.to_string());
        Process::spawn(&mut command, &log, &output)
    };
    Server::start("link", "limited", address, "/v2/", Box::new(launch))
}

/// Serves as a link until the process is stopped, where the arguments say so; returns whether they
/// do.
pub(crate) fn serve_if_named() -> anyhow::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, address, registry, rate] = &arguments[..] else {
        return Ok(false);
    };
    if first != ARGUMENT {
        return Ok(false);
    }
    let registry: SocketAddr = registry.parse()?;
    let rate: f64 = rate.parse()?;
    for client in TcpListener::bind(address)?.incoming() {
        let client = client?;
        let server = TcpStream::connect(registry).context("the registry")?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let (requests, to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || forward(requests, to, f64::INFINITY));
        thread::spawn(move || forward(server, client, rate));
    }
    Ok(true)
}

/// Forwards until one side ends. An error ends it as well: the other side notices.
fn forward(mut from: TcpStream, mut to: TcpStream, bytes_per_second: f64) {
    let mut piece = vec![0; PIECE];
    // When what was forwarded has crossed the link.
    let mut crossed = Instant::now();
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let now = Instant::now();
        if let Some(earliest) = now.checked_sub(BURST) {
            crossed = crossed.max(earliest);
        }
        crossed += Duration::from_secs_f64(length as f64 / bytes_per_second);
        thread::sleep(crossed.saturating_duration_since(now));
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
