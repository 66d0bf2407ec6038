//! A server under measurement: where it listens, on which terms, and how it is started again.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::content::{self, Blob, Descriptor, MANIFEST_TYPE, Random};
use super::load::{self, Load, Outcome, Target};
use super::process::Process;
use super::request::{Request, Script};
use super::response::Response;
use super::scripts::{Push, Way};

/// A server must respond within this time from its start: distribution took up to 0.34 s, a debug
/// build of
/// ours more.
const START_TIME: Duration = Duration::from_secs(30);

/// Waits for a whole response outside the measured runs.
const RESPONSE_TIME: Duration = Duration::from_mins(1);

/// Pause between two tries to reach a starting server.
const PROBE_PAUSE: Duration = Duration::from_micros(500);

/// Size of the blobs of images that are pushed for their manifests.
const IMAGE_BLOB_SIZE: usize = 1024;

/// A pushed image.
pub(crate) struct Image {
    pub(crate) digest: String,
    /// Config and layers.
    pub(crate) blobs: Vec<Descriptor>,
}

type Launch = Box<dyn Fn() -> anyhow::Result<Process>>;

pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// Sign-in and durability, as the table states them.
    pub(crate) terms: &'static str,
    pub(crate) address: SocketAddr,
    /// Header lines of every request.
    pub(crate) headers: String,
    pub(crate) process: Process,
    /// A path whose response is 200 once the server serves.
    pub(crate) probe: &'static str,
    launch: Launch,
}

impl Server {
    /// Starts a server and waits until it responds (200, or 401 where no `headers` are known yet).
    pub(crate) fn start(
        name: &'static str,
        terms: &'static str,
        address: SocketAddr,
        probe: &'static str,
        launch: Launch,
    ) -> anyhow::Result<Self> {
        let process = launch()?;
        let mut server = Self {
            name,
            terms,
            address,
            headers: String::new(),
            process,
            probe,
            launch,
        };
        server.await_response(Instant::now(), &[200, 401])?;
        Ok(server)
    }

    /// Restarts the server; returns the time until its first 200.
    pub(crate) fn restart(&mut self) -> anyhow::Result<Duration> {
        let (launch, address) = (&self.launch, self.address);
        // The old one must be gone before the new one takes its port and folder.
        self.process.stop();
        ensure!(
            TcpStream::connect(address).is_err(),
            "another process listens on {address}"
        );
        let began = Instant::now();
        self.process = launch()?;
        self.await_response(began, &[200])
    }

    fn await_response(&mut self, began: Instant, statuses: &[u16]) -> anyhow::Result<Duration> {
        let request = self.request("GET", self.probe, 200);
        loop {
            let response = self.exchange(&request);
            if response
                .as_ref()
                .is_ok_and(|response| statuses.contains(&response.status))
            {
                return Ok(began.elapsed());
            }
            ensure!(
                self.process.runs(),
                "{} ended while starting; see its log",
                self.name
            );
            if began.elapsed() > START_TIME {
                let seen = response.map_or_else(
                    |error| error.to_string(),
                    |response| format!("status {}", response.status),
                );
                bail!(
                    "{} did not respond within {START_TIME:?}: {seen}",
                    self.name
                );
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }

    /// A request with this server's headers.
    pub(crate) fn request(&self, method: &str, path: &str, expect: u16) -> Request {
        Request::new(method, path, &self.headers, expect)
    }

    /// GET of a manifest as clients send it: distribution gives an OCI manifest only to those who
    /// accept one.
    pub(crate) fn get_manifest(&self, repository: &str, reference: &str) -> Request {
        get_manifest(&self.headers, repository, reference)
    }

    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: String,
    ) -> Request {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let headers = format!("{}Content-Type: {MANIFEST_TYPE}\r\n", self.headers);
        Request::with_body(
            "PUT",
            &path,
            &headers,
            [manifest.into(), bytes::Bytes::new()],
            201,
        )
    }

    /// One request on a connection of its own, outside any measurement.
    pub(crate) fn exchange(&self, request: &Request) -> anyhow::Result<Response> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(RESPONSE_TIME))?;
        for part in &request.parts {
            stream.write_all(part)?;
        }
        let mut response = Response::new();
        response.begin(request.bodiless, true);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "the connection ended within a response");
            if response.feed(&buffer[..read])? {
                return Ok(response);
            }
        }
    }

    /// Like `exchange`, and fails unless the status is the expected one.
    pub(crate) fn must(&self, request: &Request) -> anyhow::Result<Response> {
        let response = self.exchange(request)?;
        let line = String::from_utf8_lossy(
            request.parts[0]
                .split(|byte| *byte == b'\r')
                .next()
                .unwrap_or_default(),
        )
        .into_owned();
        ensure!(
            response.status == request.expect,
            "{}: `{line}` gave {} instead of {}: {}",
            self.name,
            response.status,
            request.expect,
            String::from_utf8_lossy(&response.body)
        );
        Ok(response)
    }

    /// Pushes blobs outside any measurement.
    pub(crate) fn push(&self, repository: &str, blobs: &[Blob]) -> anyhow::Result<()> {
        let mut script = Push::new(repository, &self.headers, Way::Put, blobs.iter().cloned());
        let outcome = self
            .run(Load::until_done(2), &mut script)
            .with_context(|| format!("pushing to {}", self.name))?;
        ensure!(
            outcome.tally.responses == blobs.len() as u64,
            "{}: {} of {} blobs pushed",
            self.name,
            outcome.tally.responses,
            blobs.len()
        );
        Ok(())
    }

    /// Pushes an image of `layers` layers of 1 KiB under `tag`, outside any measurement.
    pub(crate) fn push_image(
        &self,
        repository: &str,
        tag: &str,
        layers: u64,
    ) -> anyhow::Result<Image> {
        let filler = Random::new(layers).bytes(IMAGE_BLOB_SIZE);
        let blobs: Vec<_> = (0..=layers)
            .map(|number| Blob::new(number, IMAGE_BLOB_SIZE, &filler))
            .collect();
        self.push(repository, &blobs)?;
        let descriptors: Vec<_> = blobs.iter().map(Descriptor::from).collect();
        let manifest = content::manifest(&descriptors, tag);
        let digest = content::sha256(manifest.as_bytes());
        self.must(&self.put_manifest(repository, tag, manifest))?;
        Ok(Image {
            digest,
            blobs: descriptors,
        })
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            address: self.address,
            process: &self.process,
        }
    }

    pub(crate) fn run(&self, load: Load, script: &mut dyn Script) -> anyhow::Result<Outcome> {
        load::run(&[self.target()], load, script)
            .with_context(|| format!("measuring {}", self.name))
    }
}

/// GET of a manifest, with the headers of its server.
pub(crate) fn get_manifest(headers: &str, repository: &str, reference: &str) -> Request {
    let headers = format!("{headers}Accept: {MANIFEST_TYPE}\r\n");
    Request::new(
        "GET",
        &format!("/v2/{repository}/manifests/{reference}"),
        &headers,
        200,
    )
}

/// A free port of the loopback device.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
