//! The registry: repositories, images, blobs and uploads. [`Registry`] holds a handle for each.

mod archive;
mod blob_store_claim;
mod cleanup;
mod collection_hold;
mod configured;
mod content;
mod creation_templates;
mod error;
mod events;
mod fsck;
mod gc;
mod image_deletion;
mod images;
mod journal;
mod keyed_locks;
mod lifecycle;
mod listings;
mod manifest_cache;
mod model;
mod mutability;
mod open_uploads;
mod policies;
mod publishing;
mod pull_cache;
mod pull_records;
mod pull_target;
mod pull_through;
mod pulls;
mod push_effects;
mod recent_keys;
mod referrers;
mod registry_settings;
mod replication;
mod repositories;
mod repository_cache;
mod repository_resource;
mod reset;
mod scanning_rules;
mod scans;
mod signing;
mod state_cache;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod upload_claims;
mod upload_cleanup;
mod upload_publication;
mod uploads;
mod wildcard;

use std::sync::Arc;
use std::time::Duration;

pub use archive::{Archive, ArchiveMover, ArchiveProgress};
pub use blob_store_claim::BlobStoreError;
pub use cleanup::RepositoryCleanup;
pub use collection_hold::CollectionHold;
pub use content::{Content, LayerUse};
pub use creation_templates::CreationTemplates;
pub use creation_templates::model::{AppliedFor, CreationTemplate, ROOT, TemplateSettings};
pub use error::{Error, Mismatch};
pub use events::{
    Bounds, DeliverySettings, EventCounts, EventDelivery, EventOutbox, EventRetention,
    FrequencyChange, ImageAction, RegistryEvent, SinkFilter,
};
pub use fsck::{
    Finding, Fsck, FsckError, FsckOptions, Phase, Position, RepairSource, ReplicaSource,
};
use gc::BlobLease;
pub use gc::{Collector, GarbageCollection, Progress, Survey};
pub use images::{Images, Push};
pub use journal::{
    JournalError, JournalStartError, JournalWriter, Rebuild, RebuildError, Rebuilt, SegmentError,
};
pub use lifecycle::{
    Action, EvaluationReport, Lifecycle, LifecyclePolicy, LifecyclePolicyError,
    LifecycleReconciler, Preview, PreviewPage, PreviewResult, PreviewStatus, RepositoryWithPolicy,
    StorageClass, StoredLifecyclePolicy,
};
pub use listings::{ImageFilter, ImagePosition};
pub use model::{
    ArchivedBlob, Blob, Encryption, Image, ImageListing, ImageStatus, MutabilityMode, Referrer,
    RegistryId, Repository, RepositoryId, RepositorySettings, StoredManifest, TagMutability,
    TagStatus, TaggedImage, Upload,
};
use publishing::Publishing;
use pull_cache::PullCache;
pub use pull_records::Puller;
pub use pull_target::{LinkedBlob, PullTarget, Pulled};
pub use pull_through::{
    ImportError, ImportedLayer, NewPullThroughRule, Prefix, PullThrough, PullThroughRule,
    PullThroughRules, SecretError, UpstreamAccess, UpstreamKind, UpstreamSecrets, UpstreamSignIn,
    UpstreamSource,
};
use push_effects::PushEffects;
pub use referrers::ReferrerPosition;
pub use registry_settings::{AccountSetting, RegistrySettings};
use replication::queue::ReplicationQueue;
pub use replication::{
    Backfill, BackfillPosition, BackfillProgress, BackfillResult, BackfillStatus, BlobSource,
    ImageReplication, RemoteDestinations, RemoteError, RemoteManifest, RemoteRegistry,
    ReplicationConfiguration, ReplicationFailure, ReplicationProgress, ReplicationRule,
    ReplicationRulesError, ReplicationState, ReplicationStatus, Replications, ResultFilter,
    ResultPosition,
};
pub use repositories::Repositories;
pub use repository_resource::RepositoryResource;
pub use scanning_rules::{
    AppliedScanning, ScanFrequency, ScanType, ScanningConfiguration, ScanningRule, scan_frequency,
};
pub use scans::{AppliedScan, Scan, ScanConfig, ScanCounts, ScanReconciler, ScanStatus, Scans};
pub use signing::keys::SigningKeys;
pub use signing::model::{ProfileKey, SignatureState, SignatureStatus, SigningFailure};
pub use signing::queue::Signatures;
use signing::queue::SigningQueue;
pub use signing::reconciler::ImageSigning;
pub use signing::rules::{SigningConfiguration, SigningRule};
pub use sweep::UploadSweep;
pub use uploads::{Part, PartBody, Uploads};
use wharfinger_base::{Clock, Ids};
use wharfinger_blobs::BlobStore;
use wharfinger_db::{Db, Migration};
use wharfinger_event_sinks::Sink;
use wharfinger_reconcile::Wake;
use wharfinger_scanning::Advisories;

/// The registry's tables.
pub const MIGRATIONS: &[Migration] = &[
    wharfinger_db::migration!("V0002__registry"),
    wharfinger_db::migration!("V0005__deleted_repositories"),
    wharfinger_db::migration!("V0006__upload_claims"),
    wharfinger_db::migration!("V0009__blob_store"),
    wharfinger_db::migration!("V0020__manifests"),
    wharfinger_db::migration!("V0021__collection"),
    wharfinger_db::migration!("V0022__lifecycle"),
    wharfinger_db::migration!("V0024__registry_settings"),
    wharfinger_db::migration!("V0025__signatures_and_media_types"),
    wharfinger_db::migration!("V0026__events"),
    wharfinger_db::migration!("V0027__work_leases"),
    wharfinger_db::migration!("V0028__pull_through_rules"),
    wharfinger_db::migration!("V0029__pull_through_tags"),
    wharfinger_db::migration!("V0031__image_scans"),
    wharfinger_db::migration!("V0032__journal"),
    wharfinger_db::migration!("V0033__replication"),
    wharfinger_db::migration!("V0035__journal_of_settings"),
    wharfinger_db::migration!("V0036__archive"),
    wharfinger_db::migration!("V0037__pull_through_roles"),
    wharfinger_db::migration!("V0038__replicated_images"),
    wharfinger_db::migration!("V0039__written_segments"),
    wharfinger_db::migration!("V0040__ended_archive_writes"),
    wharfinger_db::migration!("V0041__journal_anew"),
    wharfinger_db::migration!("V0042__catching_up"),
];

/// Settings of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Store manifests whose layers or members are not in the repository. ECR refuses them; sparse
    /// indexes need it.
    pub accept_missing_references: bool,
    /// Largest blob, in bytes. Default: ECR's 52,000 MiB.
    pub max_blob_bytes: u64,
    /// How long a blob is kept after the last HEAD, mount or upload of it while no image needs it.
    pub blob_lease: Duration,
    /// Percent of the time that garbage collection may work; 0 turns it off.
    pub gc_load_percent: u32,
    /// How long an upload may lie untouched.
    pub upload_expiry: Duration,
    /// Most open uploads of all callers together. Each keeps a row and perhaps staged bytes until
    /// it expires.
    pub max_open_uploads: u64,
    /// Most open uploads of one caller.
    pub max_open_uploads_per_caller: u64,
    /// How long a sender may be silent within a body.
    pub body_idle_timeout: Duration,
    /// Other servers share this index: upload sessions are claimed in it, and not only locked
    /// here.
    pub several_replicas: bool,
    /// The sinks of events. Without any, no event is recorded.
    pub event_sinks: Vec<SinkFilter>,
    pub scans: ScanConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accept_missing_references: false,
            max_blob_bytes: 52_000 * 1024 * 1024,
            blob_lease: Duration::from_hours(24),
            gc_load_percent: 25,
            upload_expiry: Duration::from_hours(24),
            max_open_uploads: 20_000,
            max_open_uploads_per_caller: 5_000,
            body_idle_timeout: Duration::from_mins(1),
            several_replicas: false,
            event_sinks: Vec::new(),
            scans: ScanConfig::default(),
        }
    }
}

/// All operations of the registry.
#[derive(Clone)]
pub struct Registry {
    pub repositories: Repositories,
    pub images: Images,
    pub content: Content,
    pub uploads: Uploads,
    pub events: EventOutbox,
    pub settings: RegistrySettings,
    pub templates: CreationTemplates,
    pub collector: Collector,
    pub scans: Scans,
    pub lifecycle: Lifecycle,
    pub signatures: Signatures,
    pub replications: Replications,
    signing: SigningQueue,
    replication: ReplicationQueue,
    pulls: PullCache,
    archive: Option<Archive>,
    archive_progress: Arc<ArchiveProgress>,
}

impl Registry {
    pub fn new(db: &Db, blobs: &BlobStore, clock: &Clock, ids: &Ids, config: Config) -> Self {
        let config = Arc::new(config);
        let lease = BlobLease(config.blob_lease);
        let lenient = config.accept_missing_references;
        let scan_wake = Wake::default();
        let signing = SigningQueue::new(config.several_replicas);
        let replication = ReplicationQueue::new(config.several_replicas);
        let events = EventOutbox::new(
            config.event_sinks.clone(),
            ids.clone(),
            config.several_replicas,
        );
        let effects = PushEffects {
            events: events.clone(),
            scans: scan_wake.clone(),
            signing: signing.clone(),
            replication: replication.clone(),
            archive: Wake::default(),
        };
        let images = Images::new(db.clone(), clock.clone(), lenient).with_effects(effects.clone());
        let content = Content::new(db.clone(), clock.clone(), blobs.clone(), lease);
        let uploads = Uploads::new(
            db.clone(),
            clock.clone(),
            ids.clone(),
            blobs.clone(),
            Arc::clone(&config),
            Publishing::default(),
        );
        let scans = Scans::new(
            (db.clone(), clock.clone()),
            (images.clone(), uploads.clone(), content.clone()),
            Advisories::new(db.clone(), clock.clone()),
            config.scans.clone(),
            scan_wake,
        );
        Self {
            scans,
            repositories: Repositories::new(db.clone(), clock.clone()),
            pulls: PullCache::new(images.manifests.clone()),
            images,
            settings: RegistrySettings::new(db.clone(), clock.clone(), signing.clone())
                .with_events(events.clone()),
            signatures: Signatures(db.clone()),
            replications: Replications::new(
                db.clone(),
                clock.clone(),
                ids.clone(),
                replication.clone(),
            ),
            signing,
            replication,
            templates: CreationTemplates::new(db.clone(), clock.clone()),
            content,
            lifecycle: Lifecycle::new(db.clone(), clock.clone(), ids.clone(), effects),
            collector: Collector::new(uploads.clone()),
            uploads,
            archive: None,
            archive_progress: Arc::default(),
            events,
        }
    }

    /// The same registry with an archive. Without one, archived images stay where they are.
    #[must_use]
    pub fn with_archive(self, archive: Archive) -> Self {
        Self {
            archive: Some(archive),
            ..self
        }
    }

    /// The reconciler that moves blobs to the archive and back, if there is one; `ids` name this
    /// server among others.
    pub fn archive_mover(&self, ids: &Ids) -> Option<ArchiveMover> {
        let archive = self.archive.clone()?;
        let handles = (self.uploads.clone(), self.images.effects.clone());
        let progress = Arc::clone(&self.archive_progress);
        Some(ArchiveMover::new(handles, archive, progress, ids))
    }

    /// What the archive holds, and what this server has moved.
    pub fn archive_progress(&self) -> &Arc<ArchiveProgress> {
        &self.archive_progress
    }

    /// What this server has replicated, and what waits.
    pub fn replication_progress(&self) -> &Arc<ReplicationProgress> {
        &self.replication.progress
    }

    /// The reconciler that writes the journal; `ids` name this server among others.
    pub fn journal(&self, ids: &Ids) -> JournalWriter {
        let content = &self.content;
        JournalWriter::new(
            content.db.clone(),
            content.store.clone(),
            content.clock.clone(),
            ids,
        )
    }

    /// A check of the index and its blob store, from the beginning or a [`Position`].
    pub fn fsck(&self, options: FsckOptions) -> Fsck {
        Fsck {
            db: self.content.db.clone(),
            store: self.content.store.clone(),
            archive: self.archive.clone().map(|archive| archive.store),
            clock: self.content.clock.clone(),
            options,
            sources: Vec::new(),
            lenient: self.uploads.config.accept_missing_references,
            known: None,
        }
    }

    /// The rebuild of the index from the journal in the blob store. For a command, while no server
    /// serves the index.
    pub fn rebuild(&self) -> Rebuild {
        Rebuild {
            db: self.content.db.clone(),
            store: self.content.store.clone(),
            archive: self.archive.clone().map(|archive| archive.store),
            clock: self.content.clock.clone(),
            accept_loss: false,
        }
    }

    /// The reconciler that delivers the events of a sink of the configuration.
    pub fn event_delivery(&self, sink: Sink, settings: DeliverySettings) -> EventDelivery {
        self.events
            .delivery(self.content.db.clone(), sink, settings)
    }

    /// The reconciler that removes events which nothing delivers any more.
    pub fn event_retention(&self) -> EventRetention {
        EventRetention(self.content.db.clone())
    }
}
