//! How the archive holds the bytes of a blob: as they are, or compressed with Zstandard.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::str::FromStr;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body as _;
use tokio::task::spawn_blocking;
use wharfinger_blobs::BlobReader;
use zstd::stream::raw::{Decoder, Encoder, Operation, OutBuffer};

/// Level of compression. Of 250 MB of libraries and scripts it leaves 44 MB, in 3 s of CPU time;
/// level 19 leaves 38 MB, in 90 s.
const LEVEL: i32 = 9;
/// Level at which a sample is compressed: it says whether the content was compressed before.
const SAMPLE_LEVEL: i32 = 3;
/// Bytes from the beginning of a blob by which is decided whether it is compressed.
pub(super) const SAMPLE_BYTES: u64 = 1024 * 1024;
/// What compression must leave at most of the bytes, in percent, to be worth it.
const LARGEST_PERCENT: u64 = 95;
/// Bytes that one step of the compression yields at most.
const STEP_BYTES: usize = 256 * 1024;

/// How the archive holds the bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Zstd,
}

impl Encoding {
    /// The name in the index.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Zstd => "zstd",
        }
    }
}

impl FromStr for Encoding {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "identity" => Ok(Self::Identity),
            "zstd" => Ok(Self::Zstd),
            _ => Err(()),
        }
    }
}

/// Whether so much is saved that compression is worth it.
pub(super) const fn is_worth(size: u64, stored_size: u64) -> bool {
    stored_size.saturating_mul(100) <= size.saturating_mul(LARGEST_PERCENT)
}

/// Whether the content that begins so is worth compressing. Layers mostly are compressed already,
/// and then nothing is saved.
pub(super) fn compresses(sample: &[u8]) -> bool {
    zstd::bulk::compress(sample, SAMPLE_LEVEL)
        .is_ok_and(|compressed| is_worth(sample.len() as u64, compressed.len() as u64))
}

/// Whether the error says that the bytes are damaged, and not that they could not be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
    )
}

/// The bytes of a blob as a stream that can be sent anywhere.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The bytes that the reader has, as they come.
pub(super) fn pieces(reader: BlobReader) -> Pieces {
    Box::pin(stream::try_unfold(reader, |mut reader| async move {
        loop {
            let Some(frame) = poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await else {
                return Ok(None);
            };
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some((bytes, reader)));
            }
        }
    }))
}

/// The bytes as the archive holds them.
pub(super) fn encode(source: Pieces, encoding: Encoding) -> io::Result<Pieces> {
    match encoding {
        Encoding::Identity => Ok(source),
        Encoding::Zstd => Ok(transcode(source, Encoder::new(LEVEL)?, false)),
    }
}

/// The bytes as they were before [`encode`].
pub(super) fn decode(source: Pieces, encoding: Encoding) -> io::Result<Pieces> {
    match encoding {
        Encoding::Identity => Ok(source),
        Encoding::Zstd => Ok(transcode(source, Decoder::new()?, true)),
    }
}

/// A conversion that is under way.
struct Transcoder<O> {
    operation: O,
    is_decoder: bool,
    /// `None` once all of it is taken.
    source: Option<Pieces>,
    input: Bytes,
    /// The decoder is at the end of a frame.
    is_whole: bool,
    is_done: bool,
}

/// Runs the operation over the source, on threads for work that blocks. At most one piece of the
/// source and [`STEP_BYTES`] are in memory at a time.
fn transcode<O: Operation + Send + 'static>(
    source: Pieces,
    operation: O,
    is_decoder: bool,
) -> Pieces {
    let transcoder = Transcoder {
        operation,
        is_decoder,
        source: Some(source),
        input: Bytes::new(),
        is_whole: false,
        is_done: false,
    };
    Box::pin(stream::try_unfold(
        transcoder,
        |mut transcoder| async move {
            while !transcoder.is_done {
                if transcoder.input.is_empty()
                    && let Some(source) = &mut transcoder.source
                {
                    match source.next().await {
                        Some(piece) => transcoder.input = piece?,
                        None => transcoder.source = None,
                    }
                }
                let output;
                (transcoder, output) = spawn_blocking(move || transcoder.step())
                    .await
                    .map_err(io::Error::other)??;
                if !output.is_empty() {
                    return Ok(Some((output, transcoder)));
                }
            }
            Ok(None)
        },
    ))
}

impl<O: Operation> Transcoder<O> {
    /// Takes some of the input, and yields what it became. Blocking.
    fn step(mut self) -> io::Result<(Self, Bytes)> {
        let is_last = self.input.is_empty() && self.source.is_none();
        if is_last && self.is_decoder && self.is_whole {
            self.is_done = true;
            return Ok((self, Bytes::new()));
        }
        let mut output = vec![0; STEP_BYTES];
        let written = if is_last && !self.is_decoder {
            let mut buffer = OutBuffer::around(&mut output[..]);
            let rest = self.operation.finish(&mut buffer, true)?;
            self.is_done = rest == 0;
            buffer.pos()
        } else {
            let status = self
                .operation
                .run_on_buffers(&self.input, &mut output)
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            let _ = self.input.split_to(status.bytes_read);
            self.is_whole = status.remaining == 0;
            if is_last && status.bytes_written == 0 && !self.is_whole {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            status.bytes_written
        };
        output.truncate(written);
        Ok((self, output.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &[u8], piece: usize) -> Pieces {
        let pieces: Vec<_> = content
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Box::pin(stream::iter(pieces))
    }

    async fn collect(mut pieces: Pieces) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            assert!(piece.len() <= STEP_BYTES);
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..length).map(|_| next().to_le_bytes()[0]).collect()
    }

    #[tokio::test]
    async fn what_was_encoded_is_decoded_to_the_same_bytes() {
        let zeros = vec![0; 3_000_001];
        for content in [&b""[..], b"x", &zeros, &noise(700_000)] {
            for piece in [1_000, 1_000_000] {
                for encoding in [Encoding::Identity, Encoding::Zstd] {
                    if content.len() / piece > 1_000 {
                        continue;
                    }
                    let encoded = encode(source(content, piece), encoding).expect("an encoder");
                    let encoded = collect_any(encoded).await;
                    let decoded = decode(source(&encoded, piece), encoding).expect("a decoder");
                    assert_eq!(collect_any(decoded).await, content);
                }
            }
        }
    }

    async fn collect_any(mut pieces: Pieces) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.expect("converted"));
        }
        all
    }

    #[tokio::test]
    async fn zeros_are_unpacked_in_pieces_of_bounded_size() {
        let zeros = vec![0; 8 * 1024 * 1024];
        let encoded = encode(source(&zeros, 1024 * 1024), Encoding::Zstd).expect("an encoder");
        let encoded = collect(encoded).await.expect("encoded");
        assert!(encoded.len() < 10_000, "{}", encoded.len());
        let decoded = decode(source(&encoded, 1024 * 1024), Encoding::Zstd).expect("a decoder");
        assert_eq!(collect(decoded).await.expect("decoded").len(), zeros.len());
    }

    #[tokio::test]
    async fn a_cut_or_damaged_object_is_an_error() {
        let content = noise(300_000);
        let encoded = encode(source(&content, 65_536), Encoding::Zstd).expect("an encoder");
        let encoded = collect(encoded).await.expect("encoded");
        let cut = &encoded[..encoded.len() - 10];
        let decoded = decode(source(cut, 65_536), Encoding::Zstd).expect("a decoder");
        let error = collect(decoded).await.expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let decoded = decode(source(&content, 65_536), Encoding::Zstd).expect("a decoder");
        let error = collect(decoded).await.expect_err("not compressed");
        assert!(is_damage(&error), "{error}");
    }

    #[test]
    fn compressed_content_is_recognised() {
        assert!(!compresses(&noise(100_000)));
        assert!(compresses(&b"a line of text\n".repeat(1_000)));
        assert!(is_worth(100, 95) && !is_worth(100, 96));
    }

    #[test]
    fn encodings_come_back_from_their_names() {
        for encoding in [Encoding::Identity, Encoding::Zstd] {
            assert_eq!(encoding.name().parse(), Ok(encoding));
        }
        assert_eq!("gzip".parse::<Encoding>(), Err(()));
    }
}
