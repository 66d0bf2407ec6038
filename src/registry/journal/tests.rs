//! Histories of changes, with the journal written in between by servers that crash: the index that
//! is made anew from it equals the one that was lost.

mod loss;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use wharfinger_base::{Clock, Durability, Ids, Timestamp};
use wharfinger_blobs::{BlobStore, BlobsConfig, BodyError};
use wharfinger_db::{Db, testing};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, Tag};

use super::*;
use crate::creation_templates::model::{AppliedFor, CreationTemplate, TemplateSettings};
use crate::journal::writer::segments;
use crate::pull_through::rule::{Prefix, PullThroughRule};
use crate::pull_through::upstream_kind::UpstreamKind;
use crate::{
    Config, ImageFilter, ImagePosition, MIGRATIONS, MutabilityMode, Part, Push, Registry,
    RegistryId, Repository, RepositoryId, RepositorySettings, TagMutability, store,
};

#[derive(Clone, Debug)]
enum Change {
    Create(usize),
    Delete(usize),
    Configure(usize),
    SetPolicy(usize, bool),
    /// An image made of a blob, under a tag or none.
    Push(usize, usize, Option<usize>),
    DeleteImage(usize, usize),
    DeleteTag(usize, usize),
    Mount(usize, usize, usize),
    Unlink(usize, usize),
    /// Passes of the writer.
    Write(usize),
    /// Another server becomes the writer, in the middle of a pass of the first one.
    Crash,
}

fn change() -> impl Strategy<Value = Change> {
    let repository = || 0..3_usize;
    let content = || 0..4_usize;
    prop_oneof![
        3 => repository().prop_map(Change::Create),
        1 => repository().prop_map(Change::Delete),
        1 => repository().prop_map(Change::Configure),
        1 => (repository(), any::<bool>()).prop_map(|(one, set)| Change::SetPolicy(one, set)),
        8 => (repository(), content(), proptest::option::of(0..3_usize))
            .prop_map(|(one, blob, tag)| Change::Push(one, blob, tag)),
        2 => (repository(), content()).prop_map(|(one, blob)| Change::DeleteImage(one, blob)),
        2 => (repository(), 0..3_usize).prop_map(|(one, tag)| Change::DeleteTag(one, tag)),
        1 => (repository(), repository(), content())
            .prop_map(|(from, to, blob)| Change::Mount(from, to, blob)),
        1 => (repository(), content()).prop_map(|(one, blob)| Change::Unlink(one, blob)),
        6 => (1..4_usize).prop_map(Change::Write),
        2 => Just(Change::Crash),
    ]
}

/// A server of an index and a blob store.
struct Server {
    db: Db,
    store: BlobStore,
    clock: Clock,
    registry: Registry,
    writer: JournalWriter,
}

impl Server {
    fn new(db: Db, store: BlobStore, clock: Clock) -> Self {
        let ids = Ids::default();
        let registry = Registry::new(&db, &store, &clock, &ids, Config::default());
        Self {
            writer: writer(&registry, &ids),
            registry,
            db,
            store,
            clock,
        }
    }

    async fn repository(&self, number: usize) -> Option<Repository> {
        let name = format!("r{number}").parse().expect("a name");
        let found = self.registry.repositories.find(&id(), &name).await;
        found.expect("looked up")
    }

    async fn apply(&mut self, change: &Change) {
        self.clock.advance(std::time::Duration::from_secs(1));
        let number = match change {
            Change::Write(passes) => {
                for _ in 0..*passes {
                    self.writer.step().await.expect("written");
                }
                return;
            }
            Change::Crash => {
                // The first one has taken a number and not written it.
                let holder = "lost".to_owned();
                let (now, until) = (self.clock.now(), self.clock.now());
                let taken = self.db.write(move |tx| {
                    crate::store::journal::hold(tx, &holder, now, until)?;
                    crate::store::journal::next_number(tx, &holder)
                });
                taken.await.expect("taken");
                self.writer = writer(&self.registry, &Ids::default());
                return;
            }
            Change::Create(number) => {
                let name = format!("r{number}").parse().expect("a name");
                let settings = RepositorySettings::default();
                let _ = self
                    .registry
                    .repositories
                    .create(&id(), &name, settings)
                    .await;
                return;
            }
            Change::Delete(number)
            | Change::Configure(number)
            | Change::SetPolicy(number, _)
            | Change::Push(number, ..)
            | Change::DeleteImage(number, _)
            | Change::DeleteTag(number, _)
            | Change::Mount(_, number, _)
            | Change::Unlink(number, _) => *number,
        };
        if let Some(repository) = self.repository(number).await {
            self.change(&repository, change).await;
        }
    }

    /// What cannot be done is not done: both indexes are without it.
    async fn change(&self, repository: &Repository, change: &Change) {
        let Registry {
            repositories,
            images,
            content,
            ..
        } = &self.registry;
        match change {
            Change::Delete(_) => {
                repositories
                    .delete(repository, true)
                    .await
                    .expect("deleted");
            }
            Change::Configure(_) => {
                let mutability = TagMutability {
                    mode: MutabilityMode::MutableWithExclusion,
                    exclusions: vec!["v*".to_owned()],
                };
                let set = repositories.set_mutability(repository, mutability).await;
                let tags = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
                let set = set.expect("set");
                let tagged = repositories.set_tags(&set, tags, vec![], 50);
                tagged.await.expect("tagged");
            }
            Change::SetPolicy(_, true) => {
                let text = r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned();
                let _ = repositories.set_policy(repository, text).await;
            }
            Change::SetPolicy(_, false) => {
                let _ = repositories.delete_policy(repository).await;
            }
            Change::Push(_, blob, tag) => {
                let bytes = blob_bytes(*blob);
                let digest = sha256(&bytes);
                let part = Part {
                    body: futures_util::stream::iter([Ok::<_, BodyError>(bytes.clone())]),
                    offset: None,
                    length: None,
                };
                let uploaded = self
                    .registry
                    .uploads
                    .monolithic(repository.id, &digest, part);
                uploaded.await.expect("uploaded");
                let tags = tag.iter().map(|tag| tag_named(*tag)).collect();
                let _ = images.put(repository, push(*blob, tags)).await;
            }
            Change::DeleteImage(_, blob) => {
                let digest = sha256(&manifest(*blob));
                let _ = images.delete_manifest(repository.id, &digest).await;
            }
            Change::DeleteTag(_, tag) => {
                let reference = Reference::Tag(tag_named(*tag));
                let _ = images.delete_as_ecr(repository.id, &reference).await;
            }
            Change::Mount(from, _, blob) => {
                if let Some(from) = self.repository(*from).await {
                    let digest = sha256(&blob_bytes(*blob));
                    let _ = content.mount(from.id, repository.id, &digest).await;
                }
            }
            Change::Unlink(_, blob) => {
                let digest = sha256(&blob_bytes(*blob));
                let _ = content.unlink(repository.id, &digest).await;
            }
            Change::Create(_) | Change::Write(_) | Change::Crash => {}
        }
    }

    /// Everything that clients can see.
    async fn shown(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        let page = self.registry.repositories.page(&id(), "", 100).await;
        for repository in page.expect("a page").items {
            let policy = repository.policy.as_ref().map(|one| one.text().to_owned());
            let mut lines = vec![format!(
                "{:?} {:?} {policy:?}",
                repository.created_at, repository.settings
            )];
            let images = &self.registry.images;
            let start = ImagePosition::default();
            let listed = images.list(repository.id, ImageFilter::default(), start, 1_000);
            for listing in listed.await.expect("listed").items {
                let reference = Reference::Digest(listing.digest);
                let stored = images.get(repository.id, &reference).await;
                let stored = stored.expect("its manifest");
                lines.push(format!(
                    "{:?} {:?} {} {:?}",
                    listing, stored.image.pushed_at, stored.image.content_size, stored.bytes
                ));
            }
            for blob in 0..4 {
                let digest = sha256(&blob_bytes(blob));
                let found = self.registry.content.get(repository.id, &digest).await;
                lines.push(format!(
                    "{:?}",
                    found.ok().map(|blob| (blob.size, blob.key))
                ));
            }
            all.insert(repository.name.to_string(), lines);
        }
        all
    }

    /// Writes all that waits.
    async fn flush(&mut self) {
        while self.writer.step().await.expect("written").again {}
    }
}

/// A writer that another one need not wait for: the time of PostgreSQL cannot be moved.
fn writer(registry: &Registry, ids: &Ids) -> JournalWriter {
    let mut writer = registry.journal(ids);
    writer.hold = std::time::Duration::ZERO;
    writer
}

fn id() -> RegistryId {
    RegistryId {
        account: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

fn blob_bytes(number: usize) -> Bytes {
    Bytes::from(format!("blob {number}"))
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn tag_named(number: usize) -> Tag {
    format!("v{number}").parse().expect("a tag")
}

fn manifest(blob: usize) -> Bytes {
    let (digest, size) = (sha256(&blob_bytes(blob)), blob_bytes(blob).len());
    Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.empty.v1+json",
        "digest":"{digest}","size":{size}}},
        "layers":[]}}"#
    ))
}

fn push(blob: usize, tags: Vec<Tag>) -> Push {
    let bytes = manifest(blob);
    Push {
        digest: sha256(&bytes),
        manifest: Manifest::parse(&bytes, None).expect("a manifest"),
        bytes,
        tags,
        refuse_existing: false,
    }
}

async fn memory() -> BlobStore {
    let opened = BlobStore::open(&BlobsConfig::Memory, Durability::Full, Ids::default());
    opened.await.expect("opened")
}

async fn is_made_anew(db: Db, changes: &[Change], interrupt: bool) {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let mut server = Server::new(db, store.clone(), clock.clone());
    server.apply(&Change::Create(0)).await;
    for change in changes {
        server.apply(change).await;
    }
    server.flush().await;

    let again = Db::memory(MIGRATIONS).expect("an index");
    let mut rebuilt = Server::new(again, store, clock);
    let mut finished = false;
    if interrupt {
        // A rebuild that ends after its first transaction goes on.
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (again, mut stop) = (rebuilt.registry.rebuild(), Some(stop));
        tokio::select! {
            ended = again.run(|_| drop(stop.take())) => finished = ended.is_ok(),
            _ = stopped => {}
        }
        let start = rebuilt.registry.check_journal().await;
        let refused = matches!(start, Err(JournalStartError::Unfinished));
        assert!(refused || finished, "{start:?}");
        // It is resumed when leases that it gave are over.
        rebuilt.clock.advance(std::time::Duration::from_hours(72));
    }
    if !finished {
        let made = rebuilt.registry.rebuild().run(|_| ()).await;
        // Its last transaction may have been under way when it was interrupted.
        let was_whole = interrupt && matches!(made, Err(RebuildError::NotEmpty));
        assert!(made.is_ok() || was_whole, "{made:?}");
    }
    let expected = server.shown().await;
    assert_eq!(rebuilt.shown().await, expected);

    // The journal goes on from there, with other row numbers.
    rebuilt.apply(&Change::Create(0)).await;
    rebuilt.apply(&Change::Push(0, 0, Some(0))).await;
    rebuilt.flush().await;
    let third = Db::memory(MIGRATIONS).expect("an index");
    let third = Server::new(third, rebuilt.store.clone(), rebuilt.clock.clone());
    third
        .registry
        .rebuild()
        .run(|_| ())
        .await
        .expect("made anew");
    assert_eq!(third.shown().await, rebuilt.shown().await);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

#[test]
fn a_simulation_of_changes_and_crashes_leaves_a_journal_of_the_index() {
    // Each history makes three indexes, which takes some ten milliseconds.
    let seeds: Option<u32> = std::env::var("SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut runner = TestRunner::new(Runs {
        cases: seeds.map_or(48, |seeds| seeds.div_ceil(8)),
        failure_persistence: None,
        ..Runs::default()
    });
    let histories = (prop::collection::vec(change(), 0..60), any::<bool>());
    let ran = runner.run(&histories, |(changes, interrupt)| {
        let db = Db::memory(MIGRATIONS).expect("an index");
        runtime().block_on(is_made_anew(db, &changes, interrupt));
        Ok(())
    });
    ran.expect("each index is made anew");
}

#[tokio::test]
async fn an_index_of_either_engine_is_made_anew() {
    for db in testing::every_engine(MIGRATIONS) {
        let mut changes = vec![Change::Create(0), Change::Create(1), Change::Write(3)];
        for number in 0..3 {
            changes.push(Change::Push(0, number, Some(number)));
            changes.push(Change::Mount(0, 1, number));
            changes.push(Change::Crash);
            changes.push(Change::Write(1));
        }
        changes.push(Change::Configure(0));
        changes.push(Change::SetPolicy(1, true));
        changes.push(Change::DeleteTag(0, 1));
        changes.push(Change::Delete(1));
        is_made_anew(db, &changes, false).await;
    }
}

#[tokio::test]
async fn many_segments_become_few_and_tell_the_same() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let mut server = Server::new(db, store.clone(), clock.clone());
    server.apply(&Change::Create(0)).await;
    for round in 0..100 {
        server
            .apply(&Change::Push(0, round % 4, Some(round % 3)))
            .await;
        server.apply(&Change::Configure(0)).await;
        server.writer.step().await.expect("written");
    }
    server.flush().await;
    let count = segments(&store).await.expect("listed").len();
    assert!(count < 70, "{count} segments");
    let rebuilt = Db::memory(MIGRATIONS).expect("an index");
    let rebuilt = Server::new(rebuilt, store, clock);
    rebuilt
        .registry
        .rebuild()
        .run(|_| ())
        .await
        .expect("made anew");
    assert_eq!(rebuilt.shown().await, server.shown().await);
}

#[tokio::test]
async fn only_an_empty_index_is_made_anew_and_a_damaged_journal_is_told() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let mut server = Server::new(db, store.clone(), clock.clone());
    let none = server.registry.rebuild().run(|_| ()).await;
    assert!(matches!(none, Err(RebuildError::NoJournal)), "{none:?}");
    server.apply(&Change::Create(0)).await;
    server.flush().await;
    let full = server.registry.rebuild().run(|_| ()).await;
    assert!(matches!(full, Err(RebuildError::NotEmpty)), "{full:?}");

    let name = store
        .records("journal")
        .await
        .expect("listed")
        .remove(0)
        .name;
    let mut content = store.record(&name, 1 << 20).await.expect("read").to_vec();
    content.pop();
    store.put_record(&name, content.into()).await.expect("put");
    let again = Db::memory(MIGRATIONS).expect("an index");
    let damaged = Server::new(again, store, clock)
        .registry
        .rebuild()
        .run(|_| ())
        .await;
    assert!(
        matches!(damaged, Err(RebuildError::DamagedSegment(..))),
        "{damaged:?}"
    );
}

#[tokio::test]
async fn no_server_starts_where_it_would_overwrite_the_journal_of_a_lost_index() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let mut server = Server::new(db, store.clone(), clock.clone());
    server.registry.check_journal().await.expect("a new store");
    server.apply(&Change::Create(0)).await;
    server.flush().await;
    server.registry.check_journal().await.expect("its own");

    let empty = Db::memory(MIGRATIONS).expect("an index");
    let empty = Server::new(empty, store, clock);
    let refused = empty.registry.check_journal().await;
    assert!(
        matches!(refused, Err(JournalStartError::LostIndex)),
        "{refused:?}"
    );
    let again = empty.registry.rebuild();
    again.run(|_| ()).await.expect("made anew");
    empty.registry.check_journal().await.expect("made anew");
}

#[tokio::test]
async fn an_older_copy_of_an_index_writes_after_the_segments_of_the_newer_one() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let copy = Db::memory(MIGRATIONS).expect("an index");
    let mut copy = Server::new(copy, store.clone(), clock.clone());
    copy.apply(&Change::Create(0)).await;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let mut newer = Server::new(db, store.clone(), clock.clone());
    for number in 0..3 {
        newer.apply(&Change::Create(number)).await;
        newer.flush().await;
    }
    let newest = segments(&store).await.expect("listed").pop().expect("one");
    copy.flush().await;
    let all = segments(&store).await.expect("listed");
    assert!(
        all.iter().all(|segment| segment.number > newest.number),
        "{all:?}"
    );
    let rebuilt = Db::memory(MIGRATIONS).expect("an index");
    let rebuilt = Server::new(rebuilt, store, clock);
    let again = rebuilt.registry.rebuild();
    again.run(|_| ()).await.expect("made anew");
    assert_eq!(rebuilt.shown().await, copy.shown().await);
}

#[tokio::test]
async fn one_number_never_means_two_repositories() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let (one, two) = (memory().await, memory().await);
    for (store, number) in [(&one, 0), (&two, 1)] {
        let db = Db::memory(MIGRATIONS).expect("an index");
        let mut server = Server::new(db, store.clone(), clock.clone());
        server.apply(&Change::Create(number)).await;
        server.flush().await;
    }
    let other = segments(&two).await.expect("listed").remove(0).number;
    let content = writer::read_segment(&two, other).await.expect("read");
    let content = segment::encode(255, &content).expect("encoded");
    let later = "journal/00000000000000ff".parse().expect("a name");
    one.put_record(&later, content.into()).await.expect("put");
    let rebuilt = Db::memory(MIGRATIONS).expect("an index");
    let again = Server::new(rebuilt, one, clock).registry.rebuild();
    let refused = again.run(|_| ()).await;
    assert!(
        matches!(refused, Err(RebuildError::TwoIndexes(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_damaged_segment_is_replaced_by_writing_everything_anew() {
    let clock = Clock::manual(Timestamp::from_ms(1_000_000));
    let store = memory().await;
    let db = Db::memory(MIGRATIONS).expect("an index");
    let mut server = Server::new(db, store.clone(), clock.clone());
    server.apply(&Change::Create(0)).await;
    server.flush().await;
    let damaged = store
        .records("journal")
        .await
        .expect("listed")
        .remove(0)
        .name;
    let content = bytes::Bytes::from_static(b"no segment");
    store.put_record(&damaged, content).await.expect("put");
    for round in 0..70 {
        server
            .apply(&Change::Push(0, round % 4, Some(round % 3)))
            .await;
        server.writer.step().await.expect("written");
    }
    server.flush().await;
    let rebuilt = Db::memory(MIGRATIONS).expect("an index");
    let rebuilt = Server::new(rebuilt, store, clock);
    let again = rebuilt.registry.rebuild();
    again.run(|_| ()).await.expect("made anew");
    assert_eq!(rebuilt.shown().await, server.shown().await);
}

/// The record of the deletion of a repository is lost, whose name was used again.
#[tokio::test]
async fn a_rebuild_that_accepts_loss_ends_where_a_name_was_used_again() {
    for db in testing::every_engine(MIGRATIONS) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let store = memory().await;
        let lost = Db::memory(MIGRATIONS).expect("an index");
        let mut server = Server::new(lost, store.clone(), clock.clone());
        server.apply(&Change::Create(0)).await;
        server.apply(&Change::Push(0, 0, Some(0))).await;
        server.flush().await;
        server.apply(&Change::Delete(0)).await;
        server.flush().await;
        let all = segments(&store).await.expect("listed");
        let deletion = segment::name(all.last().expect("a segment").number);
        let deletion = deletion.parse().expect("a name");
        server.apply(&Change::Create(0)).await;
        server.apply(&Change::Push(0, 1, Some(1))).await;
        server.flush().await;
        store.delete_record(&deletion).await.expect("lost");

        let rebuilt = Server::new(db, store, clock);
        let refused = rebuilt.registry.rebuild().run(|_| ()).await;
        assert!(
            matches!(refused, Err(RebuildError::MissingSegment(_))),
            "{refused:?}"
        );
        let accepting = rebuilt.registry.rebuild().accepting_loss(true);
        accepting.run(|_| ()).await.expect("made anew");
        let repository = rebuilt.repository(0).await.expect("a repository").id;
        for (blob, is_there) in [(0, false), (1, true)] {
            let digest = sha256(&blob_bytes(blob));
            let found = rebuilt.registry.content.get(repository, &digest).await;
            assert_eq!(found.is_ok(), is_there, "blob {blob}");
        }
    }
}

#[tokio::test]
async fn blobs_whose_bytes_are_gone_are_not_made_anew() {
    for db in testing::every_engine(MIGRATIONS) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let store = memory().await;
        let lost = Db::memory(MIGRATIONS).expect("an index");
        let mut server = Server::new(lost, store.clone(), clock.clone());
        server.apply(&Change::Create(0)).await;
        for blob in 0..3 {
            server.apply(&Change::Push(0, blob, Some(blob))).await;
        }
        let repository = server.repository(0).await.expect("a repository").id;
        for (blob, unlinked) in [(1, true), (2, false)] {
            let digest = sha256(&blob_bytes(blob));
            let found = server.registry.content.get(repository, &digest).await;
            let key = found.expect("a blob").key;
            server.flush().await;
            if unlinked {
                server.apply(&Change::DeleteImage(0, blob)).await;
                server.apply(&Change::Unlink(0, blob)).await;
            }
            store.quarantine(&key).await.expect("removed");
        }
        server.flush().await;

        let mut rebuilt = Server::new(db, store, clock);
        let made = rebuilt.registry.rebuild().run(|_| ()).await;
        // One that no repository has is no loss.
        assert_eq!(made.expect("made anew").missing_blobs, 1);
        let repository = rebuilt.repository(0).await.expect("a repository").id;
        for (blob, is_there) in [(0, true), (1, false), (2, false)] {
            let digest = sha256(&blob_bytes(blob));
            let found = rebuilt.registry.content.get(repository, &digest).await;
            assert_eq!(found.is_ok(), is_there, "blob {blob}");
        }
        let left = rebuilt.db.read(|tx| store::fsck::blobs_after(tx, &[]));
        assert_eq!(left.await.expect("read").len(), 1, "rows without bytes");
        // A push brings it again.
        rebuilt.apply(&Change::Push(0, 2, None)).await;
        let digest = sha256(&blob_bytes(2));
        let found = rebuilt.registry.content.get(repository, &digest).await;
        found.expect("a blob");
    }
}

/// What the journal tells of the registry, a repository and its image.
async fn told(db: &Db, repository: i64) -> Vec<Option<record::State>> {
    let image = push(0, vec![]).digest;
    let registry = format!("{}/{}", id().account, id().region);
    let read = db.read(move |tx| {
        let subjects = [
            record::Subject::Registry(registry.clone()),
            record::Subject::Repository(repository),
            record::Subject::Image(repository, image),
            record::Subject::Pull(repository, image),
        ];
        let states = subjects
            .iter()
            .map(|subject| store::journal::state(tx, subject));
        states.collect::<Result<Vec<_>, _>>()
    });
    read.await.expect("read")
}

/// Sets one of everything, or removes half of it.
async fn configure(server: &Server, repository: RepositoryId, set: bool) {
    let image = push(0, vec![]).digest;
    let now = server.clock.now();
    let changed = server.db.write(move |tx| {
        let image = store::images::id_by_digest(tx, repository, &image)?.expect("an image");
        let registry = id();
        if !set {
            store::registry_settings::delete_policy(tx, &registry)?;
            store::registry_settings::delete(tx, &registry, "scanning")?;
            store::registry_settings::delete_exclusion(tx, &registry, "arn:a")?;
            store::creation_templates::delete(tx, &registry, "app")?;
            store::pull_through::delete_rule(tx, &registry, &Prefix::new("hub"))?;
            store::lifecycle::delete(tx, repository)?;
            store::image_status::begin_activation(tx, image)?;
            store::image_status::end_activation(tx, image, now)?;
            return Ok::<_, db::Error>(());
        }
        let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
            "Principal":"*","Action":"ecr:ReplicateImage","Resource":"*"}]}"#;
        store::registry_settings::put_policy(tx, &registry, policy, now)?;
        for name in ["scanning", "signing", "BLOB_MOUNTING"] {
            store::registry_settings::put(tx, &registry, name, "{\"a\":1}", now)?;
        }
        for principal in ["arn:a", "arn:b"] {
            store::registry_settings::insert_exclusion(tx, &registry, principal, now)?;
        }
        for prefix in ["app", "web/"] {
            let template = CreationTemplate {
                settings: TemplateSettings {
                    prefix: prefix.to_owned(),
                    description: Some("a template".to_owned()),
                    encryption: crate::Encryption::default(),
                    tags: BTreeMap::new(),
                    mutability: TagMutability::default(),
                    repository_policy: None,
                    lifecycle_policy: Some("{}".to_owned()),
                    applied_for: vec![AppliedFor::CreateOnPush],
                    custom_role_arn: None,
                },
                created_at: now,
                updated_at: now,
            };
            let key = crate::creation_templates::model::key(prefix);
            store::creation_templates::put(tx, &registry, key, &template)?;
        }
        for prefix in ["hub", "quay"] {
            let rule = PullThroughRule {
                registry: registry.clone(),
                prefix: Prefix::new(prefix),
                upstream_url: "registry.example".to_owned(),
                upstream_kind: UpstreamKind::of_name("docker-hub").expect("a kind"),
                upstream_prefix: Prefix::new("ROOT"),
                credential: None,
                custom_role: (prefix == "hub").then(|| {
                    let role = "arn:aws:iam::123456789012:role/pull".parse();
                    role.expect("an ARN")
                }),
                created_at: now,
                updated_at: now,
            };
            store::pull_through::insert_rule(tx, &rule)?;
        }
        store::lifecycle::put(tx, repository, "{\"rules\":[]}", now)?;
        store::image_status::archive(tx, image, now)?;
        store::images::note_pull(tx, image, now)
    });
    changed.await.expect("changed");
}

#[tokio::test]
async fn settings_policies_the_archive_and_pull_times_come_back() {
    for db in testing::every_engine(MIGRATIONS) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let mut server = Server::new(db, memory().await, clock.clone());
        server.apply(&Change::Create(0)).await;
        server.apply(&Change::Push(0, 0, Some(0))).await;
        server.flush().await;
        let repository = server.repository(0).await.expect("created").id;
        for set in [true, false] {
            server.clock.advance(std::time::Duration::from_mins(90));
            configure(&server, repository, set).await;
            // As changes, and as part of everything.
            for everything in [false, true] {
                if everything {
                    let begun = server.db.write(store::journal::refresh_from_start);
                    begun.await.expect("begun");
                }
                server.flush().await;
                let expected = told(&server.db, repository.0).await;
                let copy = memory().await;
                for segment in server.store.records("journal").await.expect("listed") {
                    let content = server.store.record(&segment.name, 1 << 20).await;
                    copy.put_record(&segment.name, content.expect("read"))
                        .await
                        .expect("put");
                }
                let again = Db::memory(MIGRATIONS).expect("an index");
                let rebuilt = Server::new(again, copy, clock.clone());
                rebuilt
                    .registry
                    .rebuild()
                    .run(|_| ())
                    .await
                    .expect("made anew");
                let id = rebuilt.repository(0).await.expect("made anew").id;
                assert_eq!(told(&rebuilt.db, id.0).await, expected);
            }
        }
        let due = server
            .db
            .read(move |tx| store::lifecycle::find(tx, repository));
        assert!(due.await.expect("read").is_none());
    }
}

#[tokio::test]
async fn times_of_pulls_alone_wait_for_a_minute() {
    for db in testing::every_engine(MIGRATIONS) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let mut server = Server::new(db, memory().await, clock.clone());
        server.apply(&Change::Create(0)).await;
        server.apply(&Change::Push(0, 0, Some(0))).await;
        // A first pass ends the writing of everything, and another one looks at the segments.
        server.flush().await;
        server.flush().await;
        let pull = async |server: &Server, times: usize| {
            let noted = server.db.write(move |tx| {
                let mut times = 0..times;
                times.try_for_each(|_| store::journal_entries::note_pull(tx, 1))
            });
            noted.await.expect("noted");
        };
        pull(&server, 1).await;
        for _ in 0..2 {
            assert_eq!(server.writer.step().await.expect("a pass").done, 0);
            clock.advance(std::time::Duration::from_secs(29));
        }
        clock.advance(std::time::Duration::from_secs(2));
        assert_eq!(server.writer.step().await.expect("a pass").done, 1);
        // They go with what does not wait.
        pull(&server, 1).await;
        assert_eq!(server.writer.step().await.expect("a pass").done, 0);
        server.apply(&Change::Create(1)).await;
        assert_eq!(server.writer.step().await.expect("a pass").done, 2);
        // So many fill a segment.
        pull(&server, 600).await;
        let pass = server.writer.step().await.expect("a pass");
        assert_eq!((pass.done, pass.again), (512, true));
        assert_eq!(server.writer.step().await.expect("a pass").done, 0);
        clock.advance(std::time::Duration::from_mins(1));
        assert_eq!(server.writer.step().await.expect("a pass").done, 88);
    }
}
