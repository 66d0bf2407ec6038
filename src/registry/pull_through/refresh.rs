//! Tags that came from upstream registries, looked at again now and then.

use std::time::Duration;

use wharfinger_oci::{Digest, Reference, Tag};

use crate::error::Error;
use crate::model::Repository;
use crate::mutability::may_move;
use crate::pull_through::import_error::ImportError;
use crate::pull_through::imported_tag::next_look;
use crate::pull_through::service::{PullThrough, UpstreamSource, failed};
use crate::store::pull_through as store;

/// How long a pull waits for an upstream registry to say what a tag names now.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a pull waits for another image that the tag names now; its import goes on.
const IMPORT_WAIT: Duration = Duration::from_secs(20);
/// How long a tag is served after a look upstream that failed, and one that nobody imported.
const NEXT_LOOK: Duration = Duration::from_mins(1);

impl PullThrough {
    /// Whether the tag, which names `current`, is due for a look upstream.
    pub async fn is_due(
        &self,
        repository: &Repository,
        tag: &Tag,
        current: &Digest,
    ) -> Result<bool, Error> {
        let (shared, key) = (&self.shared, (repository.id, tag.clone()));
        let now = shared.clock.now();
        if let Some((digest, until)) = shared.tags.get(&key)
            && digest == *current
            && now < until
        {
            return Ok(false);
        }
        if !may_move(&repository.settings.mutability, tag.as_str()) {
            return Ok(false);
        }
        let (id, name) = key.clone();
        let imported = shared
            .registry
            .content
            .db
            .get(move |tx| store::tag(tx, id, &name));
        let next = next_look(imported.await?, *current, shared.refresh_after);
        let until = next.unwrap_or_else(|| now.plus(NEXT_LOOK));
        shared.tags.insert(key, (*current, until));
        Ok(until <= now)
    }

    /// Looks upstream what the tag names now, and imports that if it is another image. Where that
    /// fails, takes long, or too much is under way, the repository keeps what it has.
    pub async fn refresh(
        &self,
        source: &UpstreamSource,
        repository: &Repository,
        tag: &Tag,
        current: &Digest,
    ) {
        let (this, of, repository) = (self.clone(), source.clone(), repository.clone());
        let (name, digest) = (tag.clone(), *current);
        let key = source.key(&Reference::Tag(tag.clone()), Some(repository.id));
        let known = (repository.id, tag.clone());
        let registry = &source.rule.registry;
        if self.shared.images.is_full(|key| key.registry == *registry) {
            return;
        }
        let work = || async move {
            let outcome = this.look(&of, &repository, &name, &digest).await;
            let now = this.shared.clock.now();
            let next = match &outcome {
                Ok(()) => now.plus(this.shared.refresh_after),
                Err(error) => {
                    let repository = &of.name;
                    tracing::warn!(
                        %repository, tag = %name, %error,
                        "a tag was not looked at upstream; its cached image is served"
                    );
                    now.plus(NEXT_LOOK)
                }
            };
            this.shared
                .tags
                .insert((repository.id, name), (digest, next));
            outcome
        };
        // The outcome is in the log: the caller serves what there is.
        let looking = self.shared.images.join(key, work);
        let looked = tokio::time::timeout(IMPORT_WAIT, looking).await;
        if looked.is_err() {
            // The import goes on, and other pulls need not wait for it.
            let next = self.shared.clock.now().plus(NEXT_LOOK);
            self.shared.tags.insert(known, (*current, next));
        }
    }

    async fn look(
        &self,
        source: &UpstreamSource,
        repository: &Repository,
        tag: &Tag,
        current: &Digest,
    ) -> Result<(), ImportError> {
        let reference = Reference::Tag(tag.clone());
        let upstream = self.upstream(source).await?;
        let client = self.rules.client();
        let digest = async {
            let permits = &self.shared.look_permits;
            let _permit = permits.turn(&source.rule.registry).await;
            client
                .manifest_digest(&upstream, &source.upstream_name, &reference)
                .await
        };
        let late = |_| ImportError::Unavailable("no response in time".to_owned());
        let digest = tokio::time::timeout(CHECK_TIMEOUT, digest)
            .await
            .map_err(late)?;
        if digest? != Some(*current) {
            return self.import(source, &reference, Some(repository.id)).await;
        }
        let (id, name, digest) = (repository.id, tag.clone(), *current);
        let now = self.shared.clock.now();
        let db = &self.shared.registry.content.db;
        let noted = db.write(move |tx| store::put_tag(tx, id, &name, &digest, now));
        noted
            .await
            .map_err(|error| failed(source, &Error::from(error)))
    }
}
