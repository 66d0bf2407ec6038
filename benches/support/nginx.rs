//! nginx for comparison: static files by sendfile, two workers, no log, nobody required to
//! sign in.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::process::Process;
use super::server::{Server, free_address};

/// Starts nginx on the files of `folder`/files.
pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    fs::write(files.join("1k"), [b'x'; 1024])?;
    let location = format!("root {};", files.display());
    launch(folder, "static files", "/1k", &location)
}

/// Starts nginx before a registry, to which it sends each response at so many bytes a second at
/// most.
pub(crate) fn start_limited(
    folder: &Path,
    registry: SocketAddr,
    bytes_per_second: usize,
) -> anyhow::Result<Server> {
    fs::create_dir_all(folder)?;
    let location = format!(
        "location / {{ proxy_pass http://{registry}; proxy_set_header Host $http_host; \
         proxy_max_temp_file_size 0; limit_rate {bytes_per_second}; }}"
    );
    launch(folder, "limited", "/v2/", &location)
}

fn launch(
    folder: &Path,
    terms: &'static str,
    probe: &'static str,
    location: &str,
) -> anyhow::Result<Server> {
    let address = free_address()?;
    let at = folder.display();
    let configuration = format!(
        "daemon off; worker_processes 2; pid {at}/nginx.pid; error_log {at}/log; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  keepalive_requests 1000000000; keepalive_timeout 600s;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;
      uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;
  server {{ listen {address} backlog=1024; {location} }}
}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, configuration)?;
    let (log, output) = (folder.join("log"), folder.join("output"));
    let program = std::env::var("WHARFINGER_BENCH_NGINX").unwrap_or_else(|_| "nginx".into());
    let launch = move || Process::spawn(Command::new(&program).arg("-c").arg(&path), &log, &output);
    Server::start("nginx", terms, address, probe, Box::new(launch))
}
