//! Signs the images that pushes have recorded.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use wharfinger_base::Timestamp;
use wharfinger_blobs::BodyError;
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference};
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::Registry;
use crate::error::Error;
use crate::images::Push;
use crate::model::{Image, RegistryId, Repository, RepositoryId};
use crate::signing::bundle;
use crate::signing::keys::{Signer, SigningKeys};
use crate::signing::model::{SigningFailure, WaitingSignature};
use crate::store::{repositories, signing as store};
use crate::uploads::Part;

/// Signatures in one pass.
const BATCH: i64 = 32;

/// How long a claim lasts: a signature takes some milliseconds, and its push as long as the disk.
const CLAIM: Duration = Duration::from_mins(1);

/// Attempts before a signature counts as failed. With the pauses between them, some ten minutes.
const MAX_ATTEMPTS: u32 = 8;

/// The pause after the first attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The reconciler that signs images. A pass signs some of those that wait.
pub struct ImageSigning {
    registry: Registry,
    keys: SigningKeys,
}

/// How an attempt ended.
enum Outcome {
    Signed,
    /// The image is gone, and nothing is to be signed.
    Gone,
    /// Another attempt would end the same way.
    Failed(SigningFailure),
}

impl ImageSigning {
    pub const fn new(registry: Registry, keys: SigningKeys) -> Self {
        Self { registry, keys }
    }

    /// Signs an image, and stores how that ended.
    async fn attempt(&self, waiting: WaitingSignature, now: Timestamp) -> Result<(), Error> {
        let outcome = match self.sign(&waiting).await {
            Ok(outcome) => outcome,
            Err(error) if waiting.attempts < MAX_ATTEMPTS => {
                let doublings = waiting.attempts.saturating_sub(1);
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(doublings);
                tracing::warn!(%error, digest = %waiting.digest, "an image was not signed yet");
                let due_at = now.plus(pause);
                let delayed = self
                    .registry
                    .content
                    .db
                    .write(move |tx| store::delay(tx, &waiting, due_at).map_err(Error::from));
                return delayed.await;
            }
            Err(error) => {
                tracing::error!(%error, digest = %waiting.digest, "an image was not signed");
                let reason = "The image could not be signed because of an internal error";
                Outcome::Failed(SigningFailure::new("InternalError", reason))
            }
        };
        self.registry
            .content
            .db
            .write(move |tx| {
                match &outcome {
                    Outcome::Signed => store::finish(tx, &waiting, None)?,
                    Outcome::Failed(failure) => store::finish(tx, &waiting, Some(failure))?,
                    Outcome::Gone => store::remove(tx, &waiting)?,
                }
                Ok(())
            })
            .await
    }

    async fn sign(&self, waiting: &WaitingSignature) -> Result<Outcome, Error> {
        let Some((repository, image)) = self.image(waiting).await? else {
            return Ok(Outcome::Gone);
        };
        let signer = match self
            .keys
            .signer(&repository.registry, &waiting.profile)
            .await
        {
            Ok(signer) => signer,
            Err(Error::NoSigningKey(_)) => {
                let reason = format!(
                    "There is no signing key for the profile {}",
                    waiting.profile
                );
                let failure = SigningFailure::new("SigningProfileNotFound", reason);
                return Ok(Outcome::Failed(failure));
            }
            Err(error) => return Err(error),
        };
        let statement = bundle::statement(&image.digest);
        let signature = self.signature(waiting, &signer, &statement).await?;
        let bundle = bundle::bundle(&signer.key_id, &statement, &signature);
        match self
            .push(&repository, &image, bundle, waiting.pushed_at)
            .await
        {
            Ok(()) => Ok(Outcome::Signed),
            // The repository was deleted meanwhile.
            Err(Error::NoSuchRepository { .. }) => Ok(Outcome::Gone),
            Err(error) => Err(error),
        }
    }

    /// The image that is to be signed, unless it was deleted.
    async fn image(
        &self,
        waiting: &WaitingSignature,
    ) -> Result<Option<(Repository, Image)>, Error> {
        let id = waiting.repository;
        let named = self.registry.content.db.get(move |tx| name_of(tx, id));
        let Some((registry, name)) = named.await? else {
            return Ok(None);
        };
        let found = self.registry.repositories.find(&registry, &name).await?;
        let Some(repository) = found.filter(|found| found.id == id) else {
            return Ok(None);
        };
        let reference = Reference::Digest(waiting.digest);
        match self.registry.images.head(id, &reference).await {
            Ok(image) => Ok(Some((repository, image))),
            Err(Error::NoSuchImage(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The signature of an earlier attempt, or a new one, which is stored first.
    async fn signature(
        &self,
        waiting: &WaitingSignature,
        signer: &Signer,
        statement: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if let Some(signature) = &waiting.signature {
            return Ok(signature.clone());
        }
        let signature = signer.sign(&bundle::signed_bytes(statement))?;
        let (of, stored) = (waiting.clone(), signature.clone());
        self.registry
            .content
            .db
            .write(move |tx| store::keep_signature(tx, &of, &stored).map_err(Error::from))
            .await?;
        Ok(signature)
    }

    /// Pushes the bundle and its manifest as a client would.
    async fn push(
        &self,
        repository: &Repository,
        image: &Image,
        bundle: Vec<u8>,
        pushed_at: Timestamp,
    ) -> Result<(), Error> {
        let digest = Digest::of(Algorithm::Sha256, &bundle);
        let config = Digest::of(Algorithm::Sha256, bundle::EMPTY_CONFIG);
        let manifest = bundle::manifest(image, (&digest, bundle.len()), &config, pushed_at);
        let empty = bundle::EMPTY_CONFIG.to_vec();
        for (digest, content) in [(&config, empty), (&digest, bundle)] {
            let part = Part {
                length: Some(content.len() as u64),
                body: stream::iter([Ok::<_, BodyError>(Bytes::from(content))]),
                offset: None,
            };
            let uploads = &self.registry.uploads;
            uploads.monolithic(repository.id, digest, part).await?;
        }
        let push = Push {
            manifest: Manifest::parse(&manifest, None)?,
            digest: Digest::of(Algorithm::Sha256, &manifest),
            bytes: Bytes::from(manifest),
            tags: Vec::new(),
            refuse_existing: false,
        };
        self.registry.images.put(repository, push).await.map(drop)
    }
}

fn name_of(
    tx: &mut wharfinger_db::Tx<'_>,
    id: RepositoryId,
) -> Result<Option<(RegistryId, wharfinger_oci::RepositoryName)>, Error> {
    Ok(repositories::name_of(tx, id)?)
}

impl Reconciler for ImageSigning {
    const NAME: &'static str = "image-signing";
    const EVERY: Duration = Duration::from_secs(10);

    fn wake(&self) -> Wake {
        self.registry.signing.wake.clone()
    }

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let db = &self.registry.content.db;
        let due = db.read(move |tx| store::due(tx, now, BATCH)).await?;
        let seen = due.len();
        let mut done = 0;
        for waiting in due {
            let until = now.plus(CLAIM);
            let claimed = db
                .write(move |tx| store::claim(tx, &waiting, until).map_err(Error::from))
                .await?;
            if let Some(waiting) = claimed {
                self.attempt(waiting, now).await?;
                done += 1;
            }
        }
        Ok(Pass {
            seen,
            done,
            again: seen == usize::try_from(BATCH).unwrap_or(usize::MAX),
        })
    }
}
