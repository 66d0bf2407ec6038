//! The identity of a store: a random UUID that is kept in it and moves with its content, so that an
//! index knows its own store wherever it lies.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};

use object_store::{ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;
use wharfinger_base::Durability;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::key;
use crate::s3::Objects;

/// Longest text that is read: a UUID has 36 characters, and an editor may add a line end.
const MAX_TEXT: u64 = 64;

impl Disk {
    /// The identity that the folder holds, if any. Blocking.
    pub(crate) fn identity(&self) -> Result<Option<Uuid>> {
        let file = match File::open(self.root.join(key::IDENTITY)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = Vec::new();
        file.take(MAX_TEXT + 1).read_to_end(&mut text)?;
        parse(&text).map(Some)
    }

    /// Gives the folder, which has none, the identity, durable when this returns. The caller holds
    /// the folder's lock. Blocking.
    pub(crate) fn set_identity(&self, identity: Uuid) -> Result<()> {
        let durable = self.durability == Durability::Full;
        let (new, target) = (
            self.root.join(key::NEW_IDENTITY),
            self.root.join(key::IDENTITY),
        );
        let mut file = File::create(&new)?;
        file.write_all(text_of(identity).as_bytes())?;
        if durable {
            file.sync_all()?;
        }
        let folder = self.folders.get_or_create(&self.root, durable)?;
        let ticket = folder.ticket();
        fs::rename(&new, &target)?;
        if durable && let Err(error) = folder.flush(ticket) {
            // The next start must not find it: the kernel takes its name for written.
            fs::remove_file(&target)?;
            return Err(error.into());
        }
        Ok(())
    }
}

impl Objects {
    /// The identity that the bucket holds under the prefix, if any.
    pub(crate) async fn identity(&self) -> Result<Option<Uuid>> {
        let found = match self.store.get(&self.path(key::IDENTITY)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        if found.meta.size > MAX_TEXT {
            return Err(unreadable());
        }
        parse(&found.bytes().await?).map(Some)
    }

    /// Gives the bucket the identity, unless another server has given it one meanwhile.
    pub(crate) async fn set_identity(&self, identity: Uuid) -> Result<()> {
        let path = self.path(key::IDENTITY);
        let payload = PutPayload::from(text_of(identity));
        let put = self.store.put_opts(&path, payload, PutMode::Create.into());
        match put.await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn text_of(identity: Uuid) -> String {
    format!("{identity}\n")
}

fn parse(text: &[u8]) -> Result<Uuid> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(unreadable)
}

fn unreadable() -> Error {
    Error::protocol("`identity` in the blob store holds no UUID")
}
