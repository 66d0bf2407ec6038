//! The service that fills repositories from upstream registries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quick_cache::sync::Cache;
use uuid::Uuid;
use wharfinger_base::{Clock, Timestamp};
use wharfinger_oci::{Digest, Reference, RepositoryName, Tag};
use wharfinger_registry_client::Upstream;

use crate::Registry;
use crate::error::Error;
use crate::model::{RegistryId, RepositoryId};
use crate::pull_through::blob_import::BlobImport;
use crate::pull_through::flights::Flights;
use crate::pull_through::import_error::ImportError;
use crate::pull_through::loops;
use crate::pull_through::permits::Permits;
use crate::pull_through::refusals::{ImageKey, Refusals};
use crate::pull_through::rule::{self, PullThroughRule};
use crate::pull_through::rules::PullThroughRules;

/// Images that are imported at once. Each keeps the bytes of a manifest in memory.
const MAX_IMAGE_IMPORTS: usize = 32;
/// Manifests that are received at once, of 4 MiB at most.
const MAX_FETCHES: usize = 32;
/// Manifests that are read or stored at once: with all that it names, one may take 40 MiB.
const MAX_READS: usize = 4;
/// Tags at which servers look upstream at once.
const MAX_LOOKS: usize = 64;
/// Layers that are received at once, each with a window of 4 MiB in memory.
const MAX_LAYER_IMPORTS: usize = 16;
/// Of them, layers that nobody waits for.
const MAX_BACKGROUND_IMPORTS: usize = 4;
/// Images whose layers wait to be received in the background. Those of others come when they are
/// pulled.
pub(super) const MAX_WAITING_IMAGES: usize = 1_024;
/// Tags whose last look upstream is in memory, at some 200 bytes each.
const KNOWN_TAGS: usize = 8_192;

/// The pull-through cache.
#[derive(Clone)]
pub struct PullThrough {
    pub rules: PullThroughRules,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) clock: Clock,
    /// How long a tag is served without a look upstream.
    pub(super) refresh_after: Duration,
    /// This process, by which it recognises its own requests.
    server: Uuid,
    pub(super) images: Flights<ImageKey, Result<(), ImportError>>,
    pub(super) image_permits: Permits,
    pub(super) fetch_permits: Permits,
    pub(super) read_permits: Permits,
    pub(super) look_permits: Permits,
    pub(super) layers: Mutex<HashMap<LayerKey, Arc<BlobImport>>>,
    pub(super) layer_permits: Permits,
    pub(super) background_permits: Permits,
    pub(super) waiting_images: Permits,
    pub(super) refusals: Refusals,
    /// Until when a tag needs no look upstream, while it names this digest.
    pub(super) tags: Cache<(RepositoryId, Tag), (Digest, Timestamp)>,
}

/// A layer of an upstream repository, as requests with the same credentials see it. Another
/// repository may not have the layer, or not for these credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LayerKey {
    pub(super) upstream: String,
    pub(super) repository: String,
    pub(super) credential: Option<String>,
    pub(super) digest: Digest,
}

/// Where a repository comes from.
#[derive(Clone, Debug)]
pub struct UpstreamSource {
    pub(super) rule: PullThroughRule,
    pub(super) name: RepositoryName,
    /// The repository's name in the upstream registry.
    pub(super) upstream_name: String,
    cdn_loop: String,
}

impl PullThrough {
    /// `refresh_after`: how long a tag is served without a look upstream.
    pub fn new(
        registry: Registry,
        rules: PullThroughRules,
        clock: Clock,
        server: Uuid,
        refresh_after: Duration,
    ) -> Self {
        let shared = Shared {
            registry,
            clock,
            refresh_after,
            server,
            images: Flights::default(),
            image_permits: Permits::new(MAX_IMAGE_IMPORTS),
            fetch_permits: Permits::new(MAX_FETCHES),
            read_permits: Permits::new(MAX_READS),
            look_permits: Permits::new(MAX_LOOKS),
            layers: Mutex::default(),
            layer_permits: Permits::new(MAX_LAYER_IMPORTS),
            background_permits: Permits::new(MAX_BACKGROUND_IMPORTS),
            waiting_images: Permits::new(MAX_WAITING_IMAGES),
            refusals: Refusals::new(),
            tags: Cache::new(KNOWN_TAGS),
        };
        Self {
            rules,
            shared: Arc::new(shared),
        }
    }

    /// Where the repository comes from; `None` where no rule is for it, or where the request has
    /// come around in a circle. `cdn_loop` is that header of the request.
    pub async fn source(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        cdn_loop: Option<&str>,
    ) -> Result<Option<UpstreamSource>, Error> {
        let rules = self.rules.all(registry).await?;
        let Some(rule) = rule::matching(&rules, name) else {
            return Ok(None);
        };
        let (Some(upstream_name), Some(cdn_loop)) = (
            rule.upstream_name(name),
            loops::onward(cdn_loop, self.shared.server),
        ) else {
            return Ok(None);
        };
        Ok(Some(UpstreamSource {
            rule: rule.clone(),
            name: name.clone(),
            upstream_name,
            cdn_loop,
        }))
    }

    pub(super) async fn upstream(&self, source: &UpstreamSource) -> Result<Upstream, ImportError> {
        let cdn_loop = Some(source.cdn_loop.clone());
        let upstream = self.rules.upstream(&source.rule, cdn_loop).await;
        upstream.map_err(|error| match error {
            Error::UpstreamSecret(why) => ImportError::Secret(why),
            error => failed(source, &error),
        })
    }
}

impl UpstreamSource {
    /// Whether the rule is for all names, also of repositories that do not come from upstream.
    #[must_use]
    pub fn is_for_all_names(&self) -> bool {
        self.rule.prefix.is_root()
    }

    pub(super) fn key(
        &self,
        reference: &Reference,
        repository_id: Option<RepositoryId>,
    ) -> ImageKey {
        ImageKey {
            repository_id,
            registry: self.rule.registry.clone(),
            repository: self.name.to_string(),
            reference: reference.clone(),
        }
    }
}

/// Logs a failure of this server, of which clients learn no more than that.
pub(super) fn failed(source: &UpstreamSource, error: &Error) -> ImportError {
    let repository = &source.name;
    tracing::error!(%repository, error = %wharfinger_base::Chain(error), "an import failed");
    ImportError::Internal
}
