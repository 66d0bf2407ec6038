//! Layers imported from upstream registries: one download for all who wait.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use wharfinger_oci::{Digest, RepositoryName};
use wharfinger_registry_client::BlobDownload;

use crate::content::Content;
use crate::error::Error;
use crate::model::{Blob, RegistryId, Repository, RepositoryId};
use crate::pull_through::blob_import::{BlobImport, ReadGuard};
use crate::pull_through::import_error::ImportError;
use crate::pull_through::service::{LayerKey, PullThrough, UpstreamSource, failed};
use crate::store::pull_through as store;
use crate::uploads::Part;

/// Layers of an image that are imported in the background, at some 100 bytes of memory each. Others
/// come when they are pulled.
const MAX_BACKGROUND_LAYERS: usize = 256;

/// Images that are looked at for the size of a layer, and different sizes that are tried.
const MAX_IMAGES_OF_LAYER: usize = 16;
const MAX_SIZES_OF_LAYER: usize = 4;

/// How long an upstream registry may take until it begins to send, redirects included.
const START_WAIT: Duration = Duration::from_secs(100);

/// A layer that an upstream registry has begun to send.
pub struct ImportedLayer {
    _guard: ReadGuard,
    import: Arc<BlobImport>,
    content: Content,
}

impl ImportedLayer {
    pub fn digest(&self) -> &Digest {
        &self.import.digest
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.import.size
    }

    /// The bytes of a range, which lies within the layer, as they arrive. The last byte of the
    /// layer comes only after its digest was verified.
    pub fn read(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, ImportError>> + Send + 'static {
        Arc::clone(&self.import).read(range, self.content.clone())
    }
}

impl PullThrough {
    /// Begins to import a layer, or joins the import under way. Returns once the upstream registry
    /// sends; the import goes on whether or not anybody reads.
    ///
    /// Images need not agree about the size of a layer: where the upstream registry sends another
    /// one, that of the next image is tried.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] for a blob that no image of the repository is made of;
    /// [`Error::Import`].
    pub async fn import_layer(
        &self,
        source: &UpstreamSource,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<ImportedLayer, Error> {
        let content = self.shared.registry.content.clone();
        let (id, wanted) = (repository.id, *digest);
        let (mut after, mut tried, mut refused) = (0, BTreeSet::new(), None);
        for _ in 0..MAX_IMAGES_OF_LAYER {
            // Not on the threads of requests: a manifest may have thousands of layers.
            let found = content
                .db
                .read(move |tx| store::image_of_layer(tx, id, &wanted, after));
            let Some((image, size)) = found.await? else {
                break;
            };
            after = image;
            let Some(size) = size.filter(|size| tried.insert(*size)) else {
                continue;
            };
            let limit_bytes = self.shared.registry.uploads.max_blob_bytes();
            if size > limit_bytes {
                let why = format!("a layer is larger than {limit_bytes} bytes");
                refused = Some(ImportError::Invalid(why));
                continue;
            }
            let import = self.join_layer(source, repository.id, wanted, size);
            let guard = import.note_reader();
            // Nobody reads what is empty, and so waits for its digest.
            let begun = match size {
                0 => import.ended().await.map(|_| ()),
                _ => import.started().await,
            };
            match begun {
                Ok(()) => {
                    return Ok(ImportedLayer {
                        _guard: guard,
                        import,
                        content,
                    });
                }
                Err(error @ ImportError::Invalid(_)) if tried.len() < MAX_SIZES_OF_LAYER => {
                    refused = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused.map_or(Error::NoSuchBlob(wanted), Error::from))
    }

    /// Imports layers that nobody waits for, one after the other.
    pub(super) fn import_in_background(
        &self,
        source: &UpstreamSource,
        repository: &Repository,
        mut layers: Vec<(Digest, u64)>,
    ) {
        if layers.is_empty() {
            return;
        }
        layers.truncate(MAX_BACKGROUND_LAYERS);
        layers.shrink_to_fit();
        let (this, source, repository) = (self.clone(), source.clone(), repository.id);
        tokio::spawn(async move {
            let shared = &this.shared;
            // Those of images beyond the limit come when they are pulled.
            let registry = &source.rule.registry;
            let Some(_waiting) = shared.waiting_images.try_acquire(registry) else {
                return;
            };
            for (digest, size) in layers {
                let _permit = shared.background_permits.turn(registry).await;
                match shared.registry.content.get(repository, &digest).await {
                    Ok(_) => continue,
                    Err(Error::NoSuchBlob(_)) => {}
                    Err(_) => return,
                }
                let import = this.join_layer(&source, repository, digest, size);
                if let Err(error) = import.ended().await {
                    let repository = &source.name;
                    tracing::info!(
                        %repository, %digest, %error,
                        "a layer was not imported; it is when somebody pulls it"
                    );
                    return;
                }
            }
        });
    }

    /// Begins to read a blob of a repository from the upstream registry of its rule, for a repair;
    /// `None` where no rule has the name, and where its upstream is a registry of this server: that
    /// is stopped during a repair, and whoever listens in its place must not get the password.
    pub(crate) async fn download(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        blob: &Blob,
    ) -> Result<Option<BlobDownload>, Error> {
        let Some(source) = self.source(registry, name, None).await? else {
            return Ok(None);
        };
        if source.rule.custom_role.is_some() {
            return Ok(None);
        }
        let upstream = self.upstream(&source).await.map_err(Error::Import)?;
        let client = self.rules.client();
        let download = client.blob(&upstream, &source.upstream_name, &blob.digest, blob.size);
        let failed = |why| Error::Import(ImportError::from(why));
        download.await.map(Some).map_err(failed)
    }

    fn join_layer(
        &self,
        source: &UpstreamSource,
        repository: RepositoryId,
        digest: Digest,
        size: u64,
    ) -> Arc<BlobImport> {
        let rule = &source.rule;
        let key = LayerKey {
            upstream: rule.upstream_url.clone(),
            repository: source.upstream_name.clone(),
            credential: {
                let sign_in = rule.credential.as_ref().or(rule.custom_role.as_ref());
                sign_in.map(ToString::to_string)
            },
            digest,
        };
        let import = {
            let mut all = self.layers();
            if let Some(import) = all.get(&key).filter(|import| import.size == size) {
                import.add(repository);
                return Arc::clone(import);
            }
            let import = Arc::new(BlobImport::new(digest, size));
            import.add(repository);
            all.insert(key.clone(), Arc::clone(&import));
            import
        };
        let (this, source) = (self.clone(), source.clone());
        let ending = Ending {
            cache: self.clone(),
            key,
            import: Arc::clone(&import),
            outcome: Err(ImportError::Internal),
        };
        tokio::spawn(async move {
            let mut ending = ending;
            ending.outcome = this
                .receive_layer(&source, repository, &ending.import)
                .await;
            let repositories = ending.remove();
            if let Ok(blob) = &ending.outcome {
                this.link(&source, repository, repositories, blob).await;
            }
        });
        import
    }

    /// Receives a layer into the blob store.
    async fn receive_layer(
        &self,
        source: &UpstreamSource,
        repository: RepositoryId,
        import: &Arc<BlobImport>,
    ) -> Result<Blob, ImportError> {
        let shared = &self.shared;
        let permits = &shared.layer_permits;
        let _permit = permits.acquire(&source.rule.registry).await?;
        match shared
            .registry
            .content
            .get(repository, &import.digest)
            .await
        {
            // It came while this import waited.
            Ok(blob) => return Ok(blob),
            Err(Error::NoSuchBlob(_)) => {}
            Err(error) => return Err(failed(source, &error)),
        }
        let upstream = self.upstream(source).await?;
        let (client, name) = (self.rules.client(), &source.upstream_name);
        let download = client.blob(&upstream, name, &import.digest, import.size);
        let late = |_| ImportError::Unavailable("no response in time".to_owned());
        let download = tokio::time::timeout(START_WAIT, download)
            .await
            .map_err(late)??;
        import.start();
        let broken = Arc::new(Mutex::new(None));
        let (arriving, failure) = (Arc::clone(import), Arc::clone(&broken));
        let permits = permits.clone();
        let begun_at = Instant::now();
        let body = download.into_stream().map(move |piece| match piece {
            Ok(_) if arriving.is_slow_and_unread(begun_at.elapsed()) && permits.is_awaited() => {
                let why = ImportError::Unavailable(
                    "it is slow, nobody reads it, and others wait".to_owned(),
                );
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
                Err(why.into())
            }
            Ok(piece) => {
                arriving.push(&piece);
                Ok(piece)
            }
            Err(error) => {
                let error = ImportError::from(error);
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                Err(error.into())
            }
        });
        let part = Part {
            body: body.boxed(),
            offset: None,
            length: Some(import.size),
        };
        let (session, whole) = (Arc::clone(import), Arc::clone(import));
        let uploads = &shared.registry.uploads;
        let begun = move |id| session.set_session(id);
        let verified = Some(move || whole.verified());
        let stored = uploads.import(repository, &import.digest, part, begun, verified);
        stored.await.map_err(|error| {
            let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (broken, error) {
                (Some(error), _) => error,
                (None, error @ (Error::DigestMismatch(_) | Error::TooLarge { .. })) => {
                    ImportError::Invalid(error.to_string())
                }
                (None, error) => failed(source, &error),
            }
        })
    }

    /// Links the blob into the other repositories that waited for it.
    async fn link(
        &self,
        source: &UpstreamSource,
        from: RepositoryId,
        repositories: Vec<RepositoryId>,
        blob: &Blob,
    ) {
        let content = &self.shared.registry.content;
        for to in repositories.into_iter().filter(|to| *to != from) {
            match content.mount(from, to, &blob.digest).await {
                // One of the repositories is gone.
                Ok(_) | Err(Error::NoSuchBlob(_)) => {}
                Err(error) => {
                    failed(source, &error);
                }
            }
        }
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<LayerKey, Arc<BlobImport>>> {
        let layers = &self.shared.layers;
        layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an import, also one that panicked: nobody waits for it for ever.
struct Ending {
    cache: PullThrough,
    key: LayerKey,
    import: Arc<BlobImport>,
    outcome: Result<Blob, ImportError>,
}

impl Ending {
    /// Takes the import off the list, so that nobody joins it any more. Returns who has.
    fn remove(&self) -> Vec<RepositoryId> {
        let mut all = self.cache.layers();
        if all
            .get(&self.key)
            .is_some_and(|one| Arc::ptr_eq(one, &self.import))
        {
            all.remove(&self.key);
        }
        self.import.repositories()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.remove();
        let outcome = std::mem::replace(&mut self.outcome, Err(ImportError::Internal));
        self.import.end(outcome);
    }
}
