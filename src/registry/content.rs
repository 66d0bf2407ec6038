//! The blobs of repositories: found, kept, linked from another repository and unlinked.

use std::ops::Range;
use std::time::Duration;

use wharfinger_base::{Clock, Timestamp};
use wharfinger_blobs::{self as blobs, BlobReader, BlobStore};
use wharfinger_db::Db;
use wharfinger_oci::Digest;

use crate::error::Error;
use crate::gc::BlobLease;
use crate::model::{Blob, RepositoryId};
use crate::store;

/// Which images are made of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerUse {
    /// None.
    None,
    /// Only archived ones.
    Archived,
    /// An active one.
    Active,
}

/// Operations on blobs.
#[derive(Clone)]
pub struct Content {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) store: BlobStore,
    lease: BlobLease,
}

impl Content {
    pub(super) fn new(db: Db, clock: Clock, store: BlobStore, lease: BlobLease) -> Self {
        Self {
            db,
            clock,
            store,
            lease,
        }
    }

    /// A blob that the repository links. What is in the archive counts as missing.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`].
    pub async fn get(&self, repository: RepositoryId, digest: &Digest) -> Result<Blob, Error> {
        let digest = *digest;
        let found = self
            .db
            .get(move |tx| store::blobs::linked(tx, repository, &digest))
            .await?;
        found.map(|(blob, _)| blob).ok_or(Error::NoSuchBlob(digest))
    }

    /// The size of a blob that the repository links and the archive has; `None` for every other
    /// one.
    pub async fn archived_size(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let digest = *digest;
        let found = self
            .db
            .get(move |tx| store::archive::linked(tx, repository, &digest))
            .await?;
        Ok(found.map(|blob| blob.size))
    }

    /// Returns the blob and extends its lease for the duration of a push. For clients that check
    /// whether they must upload the blob.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`].
    pub async fn get_and_keep(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Blob, Error> {
        let digest = *digest;
        let found = self
            .db
            .get(move |tx| store::blobs::linked(tx, repository, &digest))
            .await?;
        let (blob, lease_until) = found.ok_or(Error::NoSuchBlob(digest))?;
        self.renew_if_due(repository, blob, lease_until).await
    }

    /// Returns the blob that the repository links, and makes that true for half a lease at least.
    pub(super) async fn renew_if_due(
        &self,
        repository: RepositoryId,
        blob: Blob,
        lease_until: Timestamp,
    ) -> Result<Blob, Error> {
        let (digest, now) = (blob.digest, self.clock.now());
        if !self.lease.is_due(lease_until, now) {
            return Ok(blob);
        }
        let until = self.lease.until(now);
        self.db
            .write(move |tx| {
                // The collector may have taken the link since it was read.
                let linked = store::blobs::linked(tx, repository, &digest)?;
                let (blob, _) = linked.ok_or(Error::NoSuchBlob(digest))?;
                store::blobs::renew(tx, &digest, until)?;
                Ok(blob)
            })
            .await
    }

    /// Links a blob of one repository into another, without moving a byte.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] where the source does not link it.
    pub async fn mount(
        &self,
        from: RepositoryId,
        to: RepositoryId,
        digest: &Digest,
    ) -> Result<Blob, Error> {
        let (digest, now) = (*digest, self.clock.now());
        let until = self.lease.until(now);
        self.db
            .write(move |tx| {
                let (blob, _) =
                    store::blobs::linked(tx, from, &digest)?.ok_or(Error::NoSuchBlob(digest))?;
                if !store::repositories::exists(tx, from)? || !store::repositories::exists(tx, to)?
                {
                    return Err(Error::NoSuchBlob(digest));
                }
                store::blobs::renew(tx, &digest, until)?;
                store::blobs::link(tx, to, &digest, until, now)?;
                Ok(blob)
            })
            .await
    }

    /// Links some blobs of one repository into another; those that the source does not link are
    /// left out. The caller gives so many that other writes do not wait long.
    pub(super) async fn mount_some(
        &self,
        from: RepositoryId,
        to: RepositoryId,
        digests: Vec<Digest>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let until = self.lease.until(now);
        self.db
            .write(move |tx| {
                if !store::repositories::exists(tx, to)? {
                    return Ok(());
                }
                for digest in &digests {
                    if store::blobs::is_linked(tx, from, digest)? {
                        store::blobs::renew(tx, digest, until)?;
                        store::blobs::link(tx, to, digest, until, now)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Takes the blob out of the repository; other repositories keep theirs, and the bytes go when
    /// nobody needs them.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`].
    pub async fn unlink(&self, repository: RepositoryId, digest: &Digest) -> Result<(), Error> {
        let digest = *digest;
        self.db
            .write(
                move |tx| match store::blobs::unlink(tx, repository, &digest)? {
                    0 => Err(Error::NoSuchBlob(digest)),
                    _ => Ok(()),
                },
            )
            .await
    }

    /// Which images of the repository are made of this blob: ECR gives download addresses for
    /// layers of active images only.
    pub async fn layer_use(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<LayerUse, Error> {
        let digest = *digest;
        self.db
            .get(move |tx| {
                Ok(
                    if store::images::active_references_blob(tx, repository, &digest)? {
                        LayerUse::Active
                    } else if store::images::references_blob(tx, repository, &digest)? {
                        LayerUse::Archived
                    } else {
                        LayerUse::None
                    },
                )
            })
            .await
    }

    /// The media types of these blobs by the images that are made of them, in their order; `None`
    /// for one that no image is made of.
    pub async fn media_types(
        &self,
        repository: RepositoryId,
        digests: Vec<Digest>,
    ) -> Result<Vec<Option<String>>, Error> {
        self.db
            .get(move |tx| {
                let digests = digests.iter();
                let types = digests
                    .map(|digest| store::images::media_type_of_child(tx, repository, digest));
                Ok(types.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Opens the blob's bytes, or a range of them.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] where it was collected since it was loaded.
    pub async fn open(&self, blob: &Blob, range: Option<Range<u64>>) -> Result<BlobReader, Error> {
        let open = || self.store.open_blob(&blob.key, blob.size, range.clone());
        let opened = open().await;
        if let Err(blobs::Error::NotFound) = opened {
            // Its row goes before its bytes: bytes that are lost still have one.
            let digest = blob.digest;
            let now = self
                .db
                .get(move |tx| store::blobs::present(tx, &digest))
                .await?;
            if now.is_none_or(|now| now.key != blob.key) {
                return Err(Error::NoSuchBlob(digest));
            }
            // Perhaps it was pushed again meanwhile.
            return open().await.map_err(Error::Blobs);
        }
        opened.map_err(Error::Blobs)
    }

    /// A signed address at which the blob store itself serves the bytes for `lifetime`; `None`
    /// where it has no such thing.
    pub async fn presign(
        &self,
        blob: &Blob,
        lifetime: Duration,
    ) -> Result<Option<url::Url>, Error> {
        self.store
            .presign_get(&blob.key, lifetime)
            .await
            .map_err(Error::Blobs)
    }
}
