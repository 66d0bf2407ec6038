//! Reads HTTP/1.1 responses as they arrive, counting bodies rather than keeping them.

use anyhow::{Context, bail};

/// Longest response head taken, in bytes: ours and the peers' are all below 2 KiB.
const HEAD_LIMIT: usize = 64 * 1024;

enum Stage {
    Head,
    /// Bytes of a body with Content-Length that are still to come.
    Sized(u64),
    /// In a chunk's size line; the size read so far, and whether its digits have ended.
    ChunkSize(u64, bool),
    /// Bytes of a chunk and its line end that are still to come.
    Chunk(u64),
    /// Bytes of the empty line after the last chunk that are still to come.
    LastLine(u64),
    Whole,
}

/// One response, read piece by piece.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// The body, if `keep` is set.
    pub(crate) body: Vec<u8>,
    /// The body's length so far, chunk framing included.
    pub(crate) body_bytes: u64,
    /// The server will close the connection.
    pub(crate) closes: bool,
    keep: bool,
    bodiless: bool,
    head: Vec<u8>,
    stage: Stage,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self {
            status: 0,
            location: None,
            body: Vec::new(),
            body_bytes: 0,
            closes: false,
            keep: false,
            bodiless: false,
            head: Vec::new(),
            stage: Stage::Head,
        }
    }

    /// Starts on the next response. `bodiless`: it responses a HEAD; `keep`: Location and body are
    /// wanted.
    pub(crate) fn begin(&mut self, bodiless: bool, keep: bool) {
        self.status = 0;
        self.location = None;
        self.body.clear();
        self.body_bytes = 0;
        self.closes = false;
        self.keep = keep;
        self.bodiless = bodiless;
        self.head.clear();
        self.stage = Stage::Head;
    }

    /// Takes `bytes` in; true when the response is whole.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> anyhow::Result<bool> {
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Head => self.feed_head(bytes)?,
                Stage::Sized(left) => {
                    let (taken, rest) = self.take(bytes, left, 0);
                    self.stage = if left == taken {
                        Stage::Whole
                    } else {
                        Stage::Sized(left - taken)
                    };
                    rest
                }
                Stage::ChunkSize(size, ended) => {
                    self.stage = chunk_size(size, ended, bytes[0])?;
                    &bytes[1..]
                }
                Stage::Chunk(left) => {
                    let (taken, rest) = self.take(bytes, left, 2);
                    self.stage = if left == taken {
                        Stage::ChunkSize(0, false)
                    } else {
                        Stage::Chunk(left - taken)
                    };
                    rest
                }
                Stage::LastLine(left) => {
                    let taken = left.min(bytes.len() as u64);
                    self.stage = if left == taken {
                        Stage::Whole
                    } else {
                        Stage::LastLine(left - taken)
                    };
                    &bytes[taken as usize..]
                }
                Stage::Whole => bail!(
                    "{} bytes follow the response, but no request is pending",
                    bytes.len()
                ),
            };
        }
        Ok(matches!(self.stage, Stage::Whole))
    }

    /// Counts (and keeps, but for the last `framing` of `left`) body bytes; responses how many were
    /// taken, and the rest.
    fn take<'a>(&mut self, bytes: &'a [u8], left: u64, framing: u64) -> (u64, &'a [u8]) {
        let taken = left.min(bytes.len() as u64);
        self.body_bytes += taken;
        if self.keep {
            let content = taken.min(left.saturating_sub(framing));
            self.body.extend_from_slice(&bytes[..content as usize]);
        }
        (taken, &bytes[taken as usize..])
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        if self.head.is_empty()
            && let Some(end) = head_end(bytes)
        {
            self.read_head(&bytes[..end])?;
            return Ok(&bytes[end..]);
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            anyhow::ensure!(
                self.head.len() <= HEAD_LIMIT,
                "a response's head is longer than {HEAD_LIMIT} bytes"
            );
            return Ok(&[]);
        };
        let head = std::mem::take(&mut self.head);
        self.read_head(&head[..end])?;
        Ok(&bytes[end - before..])
    }

    fn read_head(&mut self, head: &[u8]) -> anyhow::Result<()> {
        let text = std::str::from_utf8(head).context("a response's head is not text")?;
        self.status = text
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .context("a response has no status")?;
        let (mut length, mut chunked) = (None, false);
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(
                    value
                        .parse::<u64>()
                        .context("Content-Length is no number")?,
                );
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            } else if self.keep && name.eq_ignore_ascii_case("location") {
                self.location = Some(value.to_owned());
            }
        }
        self.stage = match (
            self.bodiless || self.status == 204 || self.status == 304,
            chunked,
            length,
        ) {
            (true, _, _) | (false, false, Some(0)) => Stage::Whole,
            (false, true, _) => Stage::ChunkSize(0, false),
            (false, false, Some(length)) => Stage::Sized(length),
            (false, false, None) => bail!("a response of status {} says no length", self.status),
        };
        Ok(())
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The stage after one more byte of a chunk's size line.
fn chunk_size(size: u64, ended: bool, byte: u8) -> anyhow::Result<Stage> {
    Ok(match byte {
        b'\n' if size == 0 => Stage::LastLine(2),
        b'\n' => Stage::Chunk(size + 2),
        _ if ended => Stage::ChunkSize(size, true),
        b';' | b'\r' => Stage::ChunkSize(size, true),
        digit => {
            let digit = char::from(digit)
                .to_digit(16)
                .context("a chunk's size is no number")?;
            Stage::ChunkSize(
                size.checked_mul(16)
                    .context("a chunk's size is too large")?
                    + u64::from(digit),
                false,
            )
        }
    })
}
