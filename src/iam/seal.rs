//! The master key file, and what is derived from it: the seal over stored secrets and the keys that
//! sign tokens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use wharfinger_base::{Ids, Secret};

/// Bytes of the tag at the end of a sealed text (NIST SP 800-38D).
const TAG_BYTES: usize = 16;
/// Bytes of the master key.
const KEY_BYTES: usize = 32;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(
        "the master key file {path} holds {found} bytes instead of {KEY_BYTES}: restore it from a \
         backup; without it no stored secret can be read"
    )]
    Length { path: PathBuf, found: u64 },
    #[error("the master key file {path} cannot be used")]
    File { path: PathBuf, source: io::Error },
}

/// The one secret that a deployment keeps outside its index: 32 random bytes.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<[u8; KEY_BYTES]>);

impl MasterKey {
    /// A key for one test.
    #[cfg(test)]
    pub(super) fn random(ids: &Ids) -> Self {
        Self(Secret::new(ids.bytes()))
    }

    /// Reads the key at `path`; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, KeyFileError> {
        match read(path) {
            Err(KeyFileError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The key with these bytes, as a backup holds it; `None` where their number is another.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Secret::new(bytes.try_into().ok()?)))
    }

    /// The bytes of the key, for a backup that shall hold it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.reveal().to_vec()
    }

    /// Writes the key to `path`, where there is no file, readable for its owner only and durable
    /// when this returns.
    pub fn create(&self, path: &Path, ids: &Ids) -> Result<(), KeyFileError> {
        write_at(path, self.0.reveal(), ids).map_err(|source| KeyFileError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The name of the key; says nothing about it.
    #[must_use]
    pub fn id(&self) -> String {
        hex::encode(&derive(self, Purpose::KeyId).reveal()[..8])
    }

    /// Reads the key at `path`; where there is none, makes one that only the owner may read,
    /// durable before this returns. Of two processes that start at once, both get the same key.
    pub fn open_or_create(path: &Path, ids: &Ids) -> Result<Self, KeyFileError> {
        let trouble = |source| KeyFileError::File {
            path: path.to_owned(),
            source,
        };
        if let Some(known) = Self::open(path)? {
            return Ok(known);
        }
        match write_at(path, &ids.bytes::<KEY_BYTES>(), ids) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(trouble)?,
        }
        read(path)
    }
}

/// Brings the bytes to `path` whole, unless there is a file.
fn write_at(path: &Path, bytes: &[u8], ids: &Ids) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", ids.uuid()));
    let written = write_new(&temporary, bytes).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    // Also where another process has written it.
    File::open(folder)?.sync_all()?;
    written.and(removed)
}

fn read(path: &Path) -> Result<MasterKey, KeyFileError> {
    let trouble = |source| KeyFileError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(trouble)?;
    let metadata = file.metadata().map_err(trouble)?;
    if metadata.len() != KEY_BYTES as u64 {
        return Err(KeyFileError::Length {
            path: path.to_owned(),
            found: metadata.len(),
        });
    }
    // Refusing would lock out mounted secrets, whose mode is not ours to choose.
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "other users of this machine can read the master key file: chmod 600 it"
        );
    }
    let mut bytes = [0; KEY_BYTES];
    file.read_exact(&mut bytes).map_err(trouble)?;
    Ok(MasterKey(Secret::new(bytes)))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What a derived key is for. A token signed for one purpose is worthless for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Seal,
    Password,
    RegistryToken,
    LayerTicket,
    SessionToken,
    AuthorizationMessage,
    StoredSecret,
    /// Not a key: the name by which a master key is known in the index.
    KeyId,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Seal => b"wharfinger/1 seal",
            Self::Password => b"wharfinger/1 password",
            Self::RegistryToken => b"wharfinger/1 registry token",
            Self::LayerTicket => b"wharfinger/1 layer ticket",
            Self::SessionToken => b"wharfinger/1 session token",
            Self::AuthorizationMessage => b"wharfinger/1 authorization message",
            Self::StoredSecret => b"wharfinger/1 stored secret",
            Self::KeyId => b"wharfinger/1 key id",
        }
    }
}

/// The key for one purpose, by HKDF-SHA256 (RFC 5869).
pub(super) fn derive(master: &MasterKey, purpose: Purpose) -> Secret<[u8; KEY_BYTES]> {
    expand(&extract(master), &[purpose.label()])
}

fn extract(master: &MasterKey) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"wharfinger").extract(master.0.reveal())
}

fn expand(key: &hkdf::Prk, info: &[&[u8]]) -> Secret<[u8; KEY_BYTES]> {
    let mut derived = [0; KEY_BYTES];
    let filled = key
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut derived));
    filled.expect("HKDF-SHA256 gives 32 bytes");
    Secret::new(derived)
}

/// A sealed text that this key does not open: another master key, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret cannot be opened: it was sealed under another master key, or changed")]
pub struct SealBroken;

/// Seals texts under AES-256-GCM. What a text belongs to is bound in, so that rows cannot be
/// exchanged for one another.
pub(super) struct Seal {
    key: LessSafeKey,
    key_id: String,
    ids: Ids,
}

impl Seal {
    pub(super) fn new(master: &MasterKey, ids: Ids) -> Self {
        Self {
            key: aes_key(&derive(master, Purpose::Seal)),
            key_id: master.id(),
            ids,
        }
    }

    /// The name of the master key; says nothing about the key.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// A random nonce, the sealed text and its tag. 2^32 texts under one key are safe (NIST SP
    /// 800-38D, 8.3).
    pub(super) fn seal(&self, belongs_to: &str, text: &[u8]) -> Vec<u8> {
        seal_with(&self.key, &self.ids, self.bound_to(belongs_to), text)
    }

    pub(super) fn open(
        &self,
        belongs_to: &str,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, SealBroken> {
        open_with(&self.key, self.bound_to(belongs_to), sealed)
    }

    fn bound_to(&self, belongs_to: &str) -> Aad<Vec<u8>> {
        Aad::from([self.key_id.as_bytes(), b"\0", belongs_to.as_bytes()].concat())
    }
}

/// Seals texts that are not stored, each under a key of its own that is derived from an id of the
/// text: one key would be used up within weeks.
pub(super) struct TokenSeal {
    key: hkdf::Prk,
    purpose: Purpose,
    ids: Ids,
}

impl TokenSeal {
    pub(super) fn new(master: &MasterKey, purpose: Purpose, ids: Ids) -> Self {
        Self {
            key: extract(master),
            purpose,
            ids,
        }
    }

    /// Bytes that a sealed text is longer than the text.
    pub(super) const fn overhead() -> usize {
        NONCE_LEN + TAG_BYTES
    }

    pub(super) fn seal(&self, id: &str, text: &[u8]) -> Vec<u8> {
        seal_with(&self.key_of(id), &self.ids, no_aad(), text)
    }

    pub(super) fn open(&self, id: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealBroken> {
        open_with(&self.key_of(id), no_aad(), sealed)
    }

    fn key_of(&self, id: &str) -> LessSafeKey {
        let info = [self.purpose.label(), id.as_bytes()];
        aes_key(&expand(&self.key, &info))
    }
}

/// Seals texts that other crates store, each under a key of its own that is derived from what the
/// text belongs to.
#[derive(Clone)]
pub struct SecretSeal(Arc<TokenSeal>);

impl SecretSeal {
    pub fn new(master: &MasterKey, ids: Ids) -> Self {
        Self(Arc::new(TokenSeal::new(master, Purpose::StoredSecret, ids)))
    }

    /// Seals a text so that it opens only as a part of `belongs_to`.
    pub fn seal(&self, belongs_to: &str, text: &[u8]) -> Vec<u8> {
        self.0.seal(belongs_to, text)
    }

    /// Opens what [`SecretSeal::seal`] sealed.
    ///
    /// # Errors
    /// A text that was sealed under another master key, for something else, or changed.
    pub fn open(&self, belongs_to: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealBroken> {
        self.0.open(belongs_to, sealed)
    }
}

/// The key is bound to what the text belongs to, so nothing else need be.
fn no_aad() -> Aad<Vec<u8>> {
    Aad::from(Vec::new())
}

fn aes_key(bytes: &Secret<[u8; KEY_BYTES]>) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, bytes.reveal()).expect("AES-256 takes 32 bytes");
    LessSafeKey::new(key)
}

fn seal_with(key: &LessSafeKey, ids: &Ids, bound_to: Aad<Vec<u8>>, text: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_LEN] = ids.bytes();
    let mut sealed = text.to_vec();
    let tag =
        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), bound_to, &mut sealed);
    let tag = tag.expect("a text of some kilobytes is far below what AES-GCM seals at once");
    [&nonce, sealed.as_slice(), tag.as_ref()].concat()
}

fn open_with(
    key: &LessSafeKey,
    bound_to: Aad<Vec<u8>>,
    sealed: &[u8],
) -> Result<Secret<Vec<u8>>, SealBroken> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealBroken)?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key.open_in_place(nonce, bound_to, &mut text);
    let length = opened.map_err(|_| SealBroken)?.len();
    text.truncate(length);
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_only_where_it_belongs() {
        let ids = Ids::default();
        let (seal, other) = (
            Seal::new(&MasterKey::random(&ids), ids.clone()),
            Seal::new(&MasterKey::random(&ids), ids.clone()),
        );
        let sealed = seal.seal("AKIA1", b"secret");
        assert_eq!(
            seal.open("AKIA1", &sealed).expect("opens").reveal(),
            b"secret"
        );
        assert_ne!(
            seal.seal("AKIA1", b"secret"),
            sealed,
            "a nonce is never used twice"
        );
        assert_eq!(seal.open("AKIA2", &sealed), Err(SealBroken));
        assert_eq!(other.open("AKIA1", &sealed), Err(SealBroken));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open("AKIA1", &changed), Err(SealBroken));
            assert_eq!(seal.open("AKIA1", &sealed[..at]), Err(SealBroken));
        }
    }

    #[test]
    fn a_stored_secret_opens_only_where_it_belongs() {
        let ids = Ids::default();
        let master = MasterKey::random(&ids);
        let seal = SecretSeal::new(&master, ids.clone());
        let sealed = seal.seal("secret 1", b"value");
        let opened = seal.open("secret 1", &sealed).expect("opens");
        assert_eq!(opened.reveal(), b"value");
        assert_eq!(seal.open("secret 2", &sealed), Err(SealBroken));
        let other = SecretSeal::new(&MasterKey::random(&ids), ids);
        assert_eq!(other.open("secret 1", &sealed), Err(SealBroken));
    }

    #[test]
    fn purposes_do_not_share_a_key() {
        let master = MasterKey::random(&Ids::default());
        assert_eq!(
            derive(&master, Purpose::Password),
            derive(&master, Purpose::Password)
        );
        assert_ne!(
            derive(&master, Purpose::Password),
            derive(&master, Purpose::LayerTicket)
        );
    }

    #[test]
    fn the_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        let ids = Ids::default();
        let first = MasterKey::open_or_create(&path, &ids).expect("made");
        let second = MasterKey::open_or_create(&path, &ids).expect("read");
        assert_eq!(first.0, second.0);
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "no temporary file stays"
        );
        fs::write(&path, b"short").expect("written");
        assert!(matches!(
            MasterKey::open_or_create(&path, &ids),
            Err(KeyFileError::Length { found: 5, .. })
        ));
        assert!(matches!(
            MasterKey::open_or_create(&folder.path().join("no/such"), &ids),
            Err(KeyFileError::File { .. })
        ));
    }
}
