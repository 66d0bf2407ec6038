//! Reads archived blobs for a backup.

use std::io;

use wharfinger_blobs::{self as blobs, BlobBytes, BlobKey};

use crate::Registry;
use crate::archive::encoding::{self, Encoding};

impl Registry {
    /// The bytes of an archived blob as they were before they went to the archive. Key, encoding
    /// and stored size are those of its row in `archived_blobs`. The digest is for the caller to
    /// compare.
    ///
    /// # Errors
    /// [`blobs::Error::NotFound`] and [`blobs::Error::WrongLength`] where the archive has lost
    /// them.
    pub async fn open_archived(
        &self,
        key: &BlobKey,
        encoding: &str,
        stored_size: u64,
    ) -> Result<BlobBytes, blobs::Error> {
        let archive = self.archive.as_ref().ok_or(blobs::Error::NotFound)?;
        let encoding: Encoding = encoding
            .parse()
            .map_err(|()| io::Error::new(io::ErrorKind::InvalidData, "an unknown encoding"))?;
        let reader = archive.store.open_blob(key, stored_size, None).await?;
        Ok(encoding::decode(encoding::pieces(reader), encoding)?)
    }
}
