//! One keep-alive connection of the load generator: writes a request, reads its response, prepares
//! the next.

use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;

use super::load::Tally;
use super::request::{Request, Script};
use super::response::Response;

/// Reads of one connection in a row, so that one that never blocks does not starve the others.
const READS_PER_TURN: usize = 4;

/// What a turn ended with.
#[derive(PartialEq, Eq)]
pub(crate) enum Turn {
    /// The socket has nothing more to read or no free buffer; an event will come.
    Waiting,
    /// There may be more to read at once.
    Unfinished,
    /// The script has nothing more for this connection.
    Done,
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    index: usize,
    request: Option<Request>,
    /// Bytes of the request that are written.
    sent: usize,
    sent_at: Instant,
    response: Response,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, index: usize) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            index,
            request: None,
            sent: 0,
            sent_at: Instant::now(),
            response: Response::new(),
        })
    }

    /// Sends the first request.
    pub(crate) fn start(&mut self, script: &mut dyn Script) -> anyhow::Result<Turn> {
        let first = script.next(self.index, None);
        self.send(first)
    }

    fn send(&mut self, request: Option<Request>) -> anyhow::Result<Turn> {
        let Some(request) = request else {
            self.request = None;
            return Ok(Turn::Done);
        };
        self.response.begin(request.bodiless, request.keep);
        self.request = Some(request);
        self.sent = 0;
        self.sent_at = Instant::now();
        self.write()?;
        Ok(Turn::Waiting)
    }

    /// Writes what is left of the request until the socket takes no more.
    fn write(&mut self) -> anyhow::Result<()> {
        let Some(request) = &self.request else {
            return Ok(());
        };
        let total: usize = request.parts.iter().map(bytes::Bytes::len).sum();
        while self.sent < total {
            let mut skip = self.sent;
            let slices = request.parts.each_ref().map(|part| {
                let from = skip.min(part.len());
                skip -= from;
                IoSlice::new(&part[from..])
            });
            match self.stream.write_vectored(&slices) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("writing a request"),
            }
        }
        Ok(())
    }

    /// Goes on after the socket has become ready; `buffer` is shared by all connections.
    pub(crate) fn advance(
        &mut self,
        buffer: &mut [u8],
        script: &mut dyn Script,
        tally: &mut Tally,
    ) -> anyhow::Result<Turn> {
        if self.request.is_none() {
            return Ok(Turn::Waiting);
        }
        self.write()?;
        for _ in 0..READS_PER_TURN {
            let read = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed the connection{}", self.position()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Waiting),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("reading a response{}", self.position()));
                }
            };
            tally.bytes += read as u64;
            let whole = self.response.feed(&buffer[..read])?;
            if whole && self.finish(script, tally)? == Turn::Done {
                return Ok(Turn::Done);
            }
            // A stream socket that returned less than was requested is empty (epoll(7)): the next
            // event will come.
            if read < buffer.len() {
                return Ok(Turn::Waiting);
            }
        }
        Ok(Turn::Unfinished)
    }

    fn finish(&mut self, script: &mut dyn Script, tally: &mut Tally) -> anyhow::Result<Turn> {
        let Some(request) = &self.request else {
            bail!("a response to no request")
        };
        if self.response.status != request.expect {
            tally.failure(|| {
                format!(
                    "status {} instead of {}{}",
                    self.response.status,
                    request.expect,
                    self.position()
                )
            });
        } else if request.counted {
            tally.record(self.sent_at);
        }
        let total: usize = request.parts.iter().map(bytes::Bytes::len).sum();
        ensure!(
            self.sent == total,
            "status {} before the request was read{}",
            self.response.status,
            self.position()
        );
        ensure!(
            !self.response.closes,
            "the server closes connections{}",
            self.position()
        );
        let next = script.next(self.index, Some(&self.response));
        self.send(next)
    }

    /// Where in its conversation the connection is, for messages: the request line, never the
    /// headers.
    fn position(&self) -> String {
        let line = self
            .request
            .as_ref()
            .and_then(|request| request.parts[0].split(|byte| *byte == b'\r').next());
        format!(
            " at `{}`",
            String::from_utf8_lossy(line.unwrap_or_default())
        )
    }
}
