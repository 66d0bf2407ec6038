//! nginx for comparison: static files by sendfile, two workers, no log, nobody required to
//! sign in.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::Process;
use super::server::{Server, free_address};

/// Starts nginx on the files of `folder`/files.
pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let files = folder.join("files");
    fs::create_dir_all(&files)?;
    fs::write(files.join("1k"), [b'x'; 1024])?;
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
  server {{ listen {address} backlog=1024; root {at}/files; }}
}}\n"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, configuration)?;
    let (log, output) = (folder.join("log"), folder.join("output"));
    let program = std::env::var("WHARFINGER_BENCH_NGINX").unwrap_or_else(|_| "nginx".into());
    let launch = move || Process::spawn(Command::new(&program).arg("-c").arg(&path), &log, &output);
    Server::start("nginx", "static files", address, "/1k", Box::new(launch))
}
