//! A body on its way into an upload: gathered into batches without copying, within its limits.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::error::{AppendError, BodyError};
use crate::staging::AppendLimits;

/// Pieces in one batch: one vectored write takes 1,024 at most, and a sender of tiny pieces must
/// not make a batch of a million.
const MAX_PIECES: usize = 512;

/// Pieces that arrived together, and how the body ended, once it did.
pub(crate) struct Batch {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) end: Option<Result<(), AppendError>>,
}

/// A body and what of it has been taken so far.
pub(crate) struct Feed<S> {
    body: S,
    limits: AppendLimits,
    start: u64,
    taken: u64,
}

impl<S, E> Feed<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BodyError>,
{
    /// `start` is the size of the upload before this body.
    pub(crate) fn new(body: S, limits: AppendLimits, start: u64) -> Self {
        Self {
            body,
            limits,
            start,
            taken: 0,
        }
    }

    /// Gathers pieces until they are `at_least` bytes together, or the body ends.
    pub(crate) async fn batch(&mut self, at_least: usize) -> Batch {
        let mut pieces = Vec::new();
        let mut gathered = 0;
        while gathered < at_least && pieces.len() < MAX_PIECES {
            match self.piece().await {
                Ok(Some(piece)) => {
                    gathered += piece.len();
                    pieces.push(piece);
                }
                Ok(None) => {
                    return Batch {
                        pieces,
                        end: Some(Ok(())),
                    };
                }
                Err(error) => {
                    return Batch {
                        pieces,
                        end: Some(Err(error)),
                    };
                }
            }
        }
        Batch { pieces, end: None }
    }

    /// The next piece that holds anything; `None` at the body's end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, AppendError> {
        loop {
            let next = pin!(self.body.next());
            let Ok(next) = tokio::time::timeout(self.limits.idle_timeout, next).await else {
                return Err(AppendError::Idle(self.limits.idle_timeout));
            };
            let Some(piece) = next else {
                return self.whole();
            };
            let piece = piece.map_err(|error| AppendError::Body(error.into()))?;
            self.taken += piece.len() as u64;
            if self.start.saturating_add(self.taken) > self.limits.max_bytes {
                return Err(AppendError::TooLarge {
                    limit: self.limits.max_bytes,
                });
            }
            if let Some(expected) = self
                .limits
                .expected
                .filter(|expected| self.taken > *expected)
            {
                return Err(AppendError::Length {
                    expected,
                    actual: self.taken,
                });
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    fn whole(&self) -> Result<Option<Bytes>, AppendError> {
        match self.limits.expected {
            Some(expected) if expected != self.taken => Err(AppendError::Length {
                expected,
                actual: self.taken,
            }),
            _ => Ok(None),
        }
    }
}

impl AppendError {
    /// Whether what had arrived before the error stays in the upload.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Idle(_))
    }
}
