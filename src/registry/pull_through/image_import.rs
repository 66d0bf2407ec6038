//! Images imported from upstream registries: the manifest with all members of an index. Their
//! layers follow when they are pulled, and in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use wharfinger_oci::{ChildKind, Digest, Manifest, Reference, Tag};
use wharfinger_registry_client::{FetchedManifest, Upstream};

use crate::creation_templates::model::AppliedFor;
use crate::error::Error;
use crate::images::Push;
use crate::model::{Repository, RepositoryId};
use crate::pull_through::import_error::ImportError;
use crate::pull_through::service::{PullThrough, UpstreamSource, failed};

/// Members of an index that are requested at once, as far as all imports leave permits.
const MEMBERS_AT_ONCE: usize = 6;
/// Most members of an image, those of inner indexes included.
const MAX_MEMBERS: usize = 512;
/// Indexes within indexes.
const MAX_DEPTH: usize = 3;

/// An image that is being imported.
struct ImageImport {
    source: UpstreamSource,
    upstream: Upstream,
    repository: Repository,
    members: AtomicUsize,
}

impl PullThrough {
    /// Imports an image that the repository does not have. Where `repository` is `None`, none was
    /// there and it is created: the caller has the permission for that. Requests for the same image
    /// wait for one import.
    ///
    /// # Errors
    /// [`Error::Import`].
    pub async fn import_image(
        &self,
        source: &UpstreamSource,
        reference: &Reference,
        repository: Option<RepositoryId>,
    ) -> Result<(), Error> {
        let key = source.key(reference, repository);
        let shared = &self.shared;
        if let Some(refused) = shared.refusals.get(&key, shared.clock.now()) {
            return Err(refused.into());
        }
        let registry = &source.rule.registry;
        if shared.images.is_full(|key| key.registry == *registry) {
            return Err(ImportError::TooManyRequests { retry_after: None }.into());
        }
        let (this, of, what) = (self.clone(), source.clone(), reference.clone());
        let work = || async move {
            let outcome = this.import(&of, &what, repository).await;
            if let Err(error) = &outcome {
                this.tell_failure(&of, &what, error).await;
            }
            outcome
        };
        let outcome = shared.images.join(key.clone(), work).await;
        let outcome = outcome.unwrap_or(Err(ImportError::Internal));
        if let Err(error) = &outcome {
            shared.refusals.note(key, error, shared.clock.now());
        }
        outcome.map_err(Error::from)
    }

    /// Records the event of a failed import, unless the upstream registry just has no such image or
    /// this server itself failed.
    async fn tell_failure(&self, source: &UpstreamSource, what: &Reference, error: &ImportError) {
        if matches!(
            error,
            ImportError::NotFound | ImportError::RepositoryAppeared | ImportError::Internal
        ) {
            return;
        }
        let images = &self.shared.registry.images;
        let recorded = images.record_failed_import(&source.rule, &source.name, what);
        if let Err(error) = recorded.await {
            failed(source, &error);
        }
    }

    /// Imports an image, also one that the repository has.
    pub(super) async fn import(
        &self,
        source: &UpstreamSource,
        reference: &Reference,
        repository: Option<RepositoryId>,
    ) -> Result<(), ImportError> {
        let (permits, registry) = (&self.shared.image_permits, &source.rule.registry);
        let _permit = permits.acquire(registry).await?;
        let upstream = self.upstream(source).await?;
        let client = self.rules.client();
        let name = &source.upstream_name;
        let fetched = {
            let _permit = self.shared.fetch_permits.turn(registry).await;
            client.manifest(&upstream, name, reference).await?
        };
        let members = {
            let _permit = self.shared.read_permits.turn(registry).await;
            members_of(&parsed(&fetched)?)
        };
        let import = Arc::new(ImageImport {
            repository: self.repository(source, repository).await?,
            source: source.clone(),
            upstream,
            members: AtomicUsize::new(0),
        });
        self.import_members(&import, members, 1).await?;
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        let _permit = self.shared.read_permits.turn(registry).await;
        self.store(&import, fetched, tag).await
    }

    /// The repository that was loaded for the decision, or a new one where there was none.
    ///
    /// # Errors
    /// [`ImportError::NotFound`] where it was deleted since, and
    /// [`ImportError::RepositoryAppeared`] where it was created since: another of its name has
    /// other policies.
    async fn repository(
        &self,
        source: &UpstreamSource,
        known: Option<RepositoryId>,
    ) -> Result<Repository, ImportError> {
        let repositories = &self.shared.registry.repositories;
        let registry = &source.rule.registry;
        if let Some(id) = known {
            let found = repositories.find(registry, &source.name).await;
            let found = found.map_err(|error| failed(source, &error))?;
            let same = found.filter(|found| found.id == id);
            return same.ok_or(ImportError::NotFound);
        }
        let purpose = AppliedFor::PullThroughCache;
        let created = repositories.create_from_template(registry, &source.name, purpose);
        created.await.map_err(|error| match error {
            Error::RepositoryExists { .. } => ImportError::RepositoryAppeared,
            error => failed(source, &error),
        })
    }

    async fn import_members(
        &self,
        import: &Arc<ImageImport>,
        members: Vec<Digest>,
        depth: usize,
    ) -> Result<(), ImportError> {
        let count = import.members.fetch_add(members.len(), Ordering::Relaxed);
        if count + members.len() > MAX_MEMBERS || (depth > MAX_DEPTH && !members.is_empty()) {
            let why = format!("an index with more than {MAX_MEMBERS} members");
            return Err(ImportError::Invalid(why));
        }
        let imports = members.into_iter().map(|digest| {
            let (this, import) = (self.clone(), Arc::clone(import));
            async move { this.import_member(&import, digest, depth).await }
        });
        let imports = stream::iter(imports).buffer_unordered(MEMBERS_AT_ONCE);
        imports.try_collect().await
    }

    fn import_member<'a>(
        &'a self,
        import: &'a Arc<ImageImport>,
        digest: Digest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), ImportError>> {
        async move {
            let (source, reference) = (&import.source, Reference::Digest(digest));
            let images = &self.shared.registry.images;
            match images.head(import.repository.id, &reference).await {
                Ok(_) => return Ok(()),
                Err(Error::NoSuchImage(_)) => {}
                Err(error) => return Err(failed(source, &error)),
            }
            let (client, name) = (self.rules.client(), &source.upstream_name);
            let fetch = || client.manifest(&import.upstream, name, &reference);
            let (shared, registry) = (&self.shared, &source.rule.registry);
            let fetching = shared.fetch_permits.turn(registry).await;
            let fetched = match fetch().await {
                Ok(fetched) => fetched,
                // A sparse index, or one with blobs as members.
                Err(wharfinger_registry_client::Error::NotFound) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let reading = shared.read_permits.turn(registry).await;
            let members = members_of(&parsed(&fetched)?);
            if members.is_empty() {
                return self.store(import, fetched, None).await;
            }
            // Indexes within indexes are rare: one is requested again rather than kept in memory
            // while its members come.
            drop((fetched, fetching, reading));
            self.import_members(import, members, depth + 1).await?;
            let _fetching = shared.fetch_permits.turn(registry).await;
            let fetched = fetch().await?;
            let _reading = shared.read_permits.turn(registry).await;
            self.store(import, fetched, None).await
        }
        .boxed()
    }

    /// Stores a manifest whose layers may follow later.
    async fn store(
        &self,
        import: &ImageImport,
        fetched: FetchedManifest,
        tag: Option<&Tag>,
    ) -> Result<(), ImportError> {
        let push = Push {
            manifest: parsed(&fetched)?,
            bytes: fetched.bytes,
            digest: fetched.digest,
            tags: tag.cloned().into_iter().collect(),
            refuse_existing: false,
        };
        let layers = push.manifest.children.iter();
        let layers = layers.filter(|child| child.kind != ChildKind::Member && !child.external);
        let layers: Vec<_> = layers.map(|child| (child.digest, child.size)).collect();
        let images = &self.shared.registry.images;
        let rule = &import.source.rule;
        let stored = images.put_imported(&import.repository, push, rule);
        match stored.await {
            Ok(()) => {}
            // The tag keeps the image that it has.
            Err(Error::TagImmutable { .. }) => return Ok(()),
            Err(error @ Error::TooManyTags { .. }) => {
                return Err(ImportError::Invalid(error.to_string()));
            }
            Err(error) => return Err(failed(&import.source, &error)),
        }
        self.import_in_background(&import.source, &import.repository, layers);
        Ok(())
    }
}

fn members_of(manifest: &Manifest) -> Vec<Digest> {
    let members = manifest.children.iter();
    let members = members.filter(|child| child.kind == ChildKind::Member && !child.external);
    members.map(|child| child.digest).collect()
}

fn parsed(fetched: &FetchedManifest) -> Result<Manifest, ImportError> {
    let manifest = Manifest::parse_new(&fetched.bytes, fetched.content_type.as_deref());
    manifest.map_err(|error| ImportError::Invalid(error.to_string()))
}
