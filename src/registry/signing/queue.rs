//! What is to be signed: recorded by the push, in its transaction.

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_oci::{Digest, Manifest};
use wharfinger_reconcile::Wake;

use crate::configured::Configured;
use crate::error::Error;
use crate::model::RepositoryId;
use crate::signing::model::SignatureStatus;
use crate::store::repositories::RepositoryRow;
use crate::store::{registry_settings, signing as store};

/// Layers of cosign's older form of signatures.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Records what is to be signed, and wakes the reconciler that signs. Cloning shares it.
///
/// Where only this server writes to the index, it remembers whether any registry has a signing
/// configuration, so that a push does not read it where there is none.
#[derive(Clone, Debug)]
pub(crate) struct SigningQueue {
    configured: Configured,
    pub(super) wake: Wake,
}

impl Default for SigningQueue {
    fn default() -> Self {
        Self::new(false)
    }
}

impl SigningQueue {
    pub(crate) fn new(several_replicas: bool) -> Self {
        Self {
            configured: Configured::new(registry_settings::SIGNING, several_replicas),
            wake: Wake::default(),
        }
    }

    /// Notes that a signing configuration is about to be stored.
    pub(crate) fn note_configuration(&self) {
        self.configured.note();
    }

    /// Records the signatures of an image that was pushed, by the rules of its registry. What
    /// refers to another image, such as a signature, is not signed.
    pub(crate) fn after_push(
        &self,
        tx: &mut Tx<'_>,
        repository: &RepositoryRow,
        (digest, manifest): (&Digest, &Manifest),
        is_new: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut layers = manifest.children.iter();
        if manifest.subject.is_some() || layers.any(|child| child.media_type == SIMPLE_SIGNING) {
            return Ok(());
        }
        if !self.configured.may_be(tx)? {
            return Ok(());
        }
        let Some(rules) = registry_settings::signing(tx, &repository.registry)? else {
            return Ok(());
        };
        for profile in rules.profiles_for(&repository.name) {
            store::enqueue(tx, repository.id, digest, profile, is_new, now)?;
        }
        Ok(())
    }

    /// Starts the work that was recorded: for after the commit.
    pub(crate) fn wake(&self) {
        if self.configured.may_have_work() {
            self.wake.wake();
        }
    }
}

/// Reads what has become of signatures.
#[derive(Clone)]
pub struct Signatures(pub(crate) Db);

impl Signatures {
    /// The signatures of an image, by profile.
    pub async fn of_image(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Vec<SignatureStatus>, Error> {
        let digest = *digest;
        self.0
            .read(move |tx| Ok(store::statuses(tx, repository, &digest)?))
            .await
    }
}
