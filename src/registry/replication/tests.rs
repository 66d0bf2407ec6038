//! What a push, a deletion or a backfill causes at destinations, on every engine.

mod backfills;
mod remote;
mod simulation;

use std::time::Duration;

use serde_json::json;
use wharfinger_db::{params, testing};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, Tag};
use wharfinger_reconcile::Reconciler as _;

use super::*;
use crate::creation_templates::model::{AppliedFor, TemplateSettings};
use crate::error::Error;
use crate::images::Push;
use crate::model::{MutabilityMode, RegistryId, Repository, RepositorySettings, TagMutability};
use crate::uploads::tests::{TestServer, part};
use crate::{Config, MIGRATIONS, Registry};

const HOME: &str = "us-east-1";
const AWAY: &str = "eu-west-1";
const ACCOUNT: &str = "123456789012";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct World {
    server: TestServer,
    replication: ImageReplication,
    source: Repository,
}

fn registry(account: &str, region: &str) -> RegistryId {
    RegistryId {
        account: account.parse().expect("an account"),
        region: region.parse().expect("a region"),
    }
}

fn home() -> RegistryId {
    registry(ACCOUNT, HOME)
}

fn away() -> RegistryId {
    registry(ACCOUNT, AWAY)
}

fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn manifest(layers: &[&[u8]]) -> String {
    let descriptor = |content: &&[u8]| {
        let kind = "application/vnd.oci.image.layer.v1.tar";
        json!({"mediaType": kind, "digest": digest(content), "size": content.len()})
    };
    let all: Vec<_> = layers.iter().map(descriptor).collect();
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": all[0], "layers": all[1..],
    })
    .to_string()
}

fn index(members: &[Digest]) -> String {
    let descriptor =
        |digest: &Digest| json!({"mediaType": MANIFEST, "digest": digest.to_string(), "size": 1});
    let all: Vec<_> = members.iter().map(descriptor).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": all}).to_string()
}

fn push(body: String, tags: &[&str]) -> Push {
    Push {
        manifest: Manifest::parse(body.as_bytes(), None).expect("a manifest"),
        digest: digest(body.as_bytes()),
        bytes: body.into(),
        tags: tags.iter().map(|one| tag(one)).collect(),
        refuse_existing: false,
    }
}

fn rules(destinations: &[RegistryId], deletes: Option<bool>) -> ReplicationConfiguration {
    let rule = ReplicationRule {
        destinations: destinations.to_vec(),
        prefixes: vec!["web/".to_owned()],
        deletes,
    };
    ReplicationConfiguration { rules: vec![rule] }
}

/// Worlds on every engine, with images in a folder.
async fn worlds(destinations: &[RegistryId], deletes: Option<bool>) -> Vec<World> {
    let mut worlds = Vec::new();
    for db in testing::every_engine(MIGRATIONS) {
        let server = TestServer::over(db, true, Config::default()).await;
        let world = World::of(server, RemoteDestinations::default()).await;
        let configured = rules(destinations, deletes);
        world.configure(&home(), &configured).await;
        worlds.push(world);
    }
    worlds
}

impl World {
    async fn of(server: TestServer, remotes: RemoteDestinations) -> Self {
        let name = "web/x".parse().expect("a name");
        let source = server.registry.repositories.get(&home(), &name).await;
        Self {
            replication: ImageReplication::new(server.registry.clone(), remotes),
            source: source.expect("the repository"),
            server,
        }
    }

    fn registry(&self) -> &Registry {
        &self.server.registry
    }

    async fn configure(&self, registry: &RegistryId, rules: &ReplicationConfiguration) {
        let replications = &self.registry().replications;
        let put = replications.put_configuration(registry, rules).await;
        put.expect("configured");
    }

    /// Uploads the layers and pushes their manifest.
    async fn image(&self, layers: &[&[u8]], tags: &[&str]) -> Digest {
        for layer in layers {
            let (uploads, digest) = (&self.registry().uploads, digest(layer));
            let uploaded = uploads.monolithic(self.source.id, &digest, part(None, layer));
            uploaded.await.expect("uploaded");
        }
        self.put(push(manifest(layers), tags)).await
    }

    async fn put(&self, push: Push) -> Digest {
        let put = self.registry().images.put(&self.source, push).await;
        put.expect("put")
    }

    /// Replicates until nothing is due.
    async fn replicate(&mut self) {
        for _ in 0..200 {
            let now = self.server.clock.now();
            if !self.replication.pass(now).await.expect("a pass").again {
                return;
            }
        }
        panic!("the replication does not come to an end");
    }

    /// The repository at a destination.
    async fn at(&self, registry: &RegistryId) -> Option<Repository> {
        let repositories = &self.registry().repositories;
        let found = repositories.find(registry, &self.source.name).await;
        found.expect("looked")
    }

    /// What a reference names at a destination.
    async fn named(&self, registry: &RegistryId, reference: &Reference) -> Option<Digest> {
        let repository = self.at(registry).await?;
        match self.registry().images.head(repository.id, reference).await {
            Ok(image) => Some(image.digest),
            Err(Error::NoSuchImage(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn tagged(&self, registry: &RegistryId, text: &str) -> Option<Digest> {
        self.named(registry, &Reference::Tag(tag(text))).await
    }

    async fn has(&self, registry: &RegistryId, image: Digest) -> bool {
        self.named(registry, &Reference::Digest(image))
            .await
            .is_some()
    }

    async fn links(&self, registry: &RegistryId, content: &[u8]) -> bool {
        let repository = self.at(registry).await.expect("the repository");
        let digest = digest(content);
        let found = self.registry().content.get(repository.id, &digest);
        found.await.is_ok()
    }

    /// The states of an image's replications with their failure codes.
    async fn statuses(&self, image: Digest) -> Vec<(ReplicationState, Option<String>)> {
        let replications = &self.registry().replications;
        let found = replications.of_image(self.source.id, &image).await;
        let found = found.expect("read").into_iter();
        found.map(|one| (one.state, one.failure_code)).collect()
    }

    async fn delete(&self, image: Digest) {
        let images = &self.registry().images;
        let deleted = images.delete_manifest(self.source.id, &image).await;
        deleted.expect("deleted");
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let count = self.server.db.read(move |tx| {
            let count = tx.query_optional(sql, params![], |row| Ok(row.integer(0)));
            count.map_err(Error::from)
        });
        count.await.expect("counted").expect("a row")
    }
}

const COMPLETE: (ReplicationState, Option<String>) = (ReplicationState::Complete, None);
const WAITING: (ReplicationState, Option<String>) = (ReplicationState::InProgress, None);

fn failed(code: ReplicationFailure) -> (ReplicationState, Option<String>) {
    (ReplicationState::Failed, Some(code.as_str().to_owned()))
}

const ROWS: &str = "SELECT COUNT(*) FROM image_replications";

#[tokio::test]
async fn a_push_arrives_with_its_tag_and_content_and_goes_no_further() {
    for mut world in worlds(&[away()], None).await {
        let third = registry(ACCOUNT, "ap-south-1");
        world
            .configure(&away(), &rules(std::slice::from_ref(&third), None))
            .await;
        let image = world.image(&[b"config", b"layer"], &["v1"]).await;
        assert_eq!(world.statuses(image).await, [WAITING]);
        world.replicate().await;
        assert_eq!(world.statuses(image).await, [COMPLETE]);
        assert_eq!(world.tagged(&away(), "v1").await, Some(image));
        assert!(world.links(&away(), b"config").await && world.links(&away(), b"layer").await);
        assert!(world.at(&third).await.is_none(), "there are no chains");
        assert_eq!(
            world.count("SELECT COUNT(*) FROM blobs").await,
            2,
            "no byte was copied"
        );

        // Another tag of the same image, and an image without one.
        world
            .put(push(manifest(&[b"config", b"layer"]), &["v2"]))
            .await;
        let other = world.image(&[b"other"], &[]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v2").await, Some(image));
        assert!(world.has(&away(), other).await);
        // The collector leaves what came, also when it is gone at the source.
        world.delete(image).await;
        world.server.clock.advance(Duration::from_hours(48));
        while world
            .registry()
            .collector
            .step()
            .await
            .expect("a step")
            .more
        {}
        world.replicate().await;
        assert!(world.links(&away(), b"layer").await);
        assert_eq!(
            world.tagged(&away(), "v1").await,
            Some(image),
            "deletions are not replicated"
        );
    }
}

#[tokio::test]
async fn repositories_are_created_by_the_template_for_replications_and_others_are_not_replicated() {
    for mut world in worlds(&[away()], None).await {
        let template = TemplateSettings {
            mutability: TagMutability {
                mode: MutabilityMode::Immutable,
                exclusions: Vec::new(),
            },
            applied_for: vec![AppliedFor::Replication],
            ..TemplateSettings::new("web".to_owned())
        };
        let templates = &world.registry().templates;
        templates.create(&away(), template).await.expect("created");
        let unmatched = "other/x".parse().expect("a name");
        let repositories = &world.registry().repositories;
        let (home, settings) = (home(), RepositorySettings::default());
        let other = repositories.create(&home, &unmatched, settings).await;
        let other = other.expect("created");
        let images = &world.registry().images;
        let put = images.put(&other, push(index(&[]), &["v1"])).await;
        put.expect("put");
        let first = world.image(&[b"a"], &["v1"]).await;
        world.replicate().await;
        let made = world.at(&away()).await.expect("the repository");
        assert_eq!(made.settings.mutability.mode, MutabilityMode::Immutable);
        let found = world
            .registry()
            .repositories
            .find(&away(), &unmatched)
            .await;
        assert!(found.expect("looked").is_none());

        // A tag that must not move: the image arrives without it.
        let second = world.image(&[b"b"], &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v1").await, Some(first));
        assert!(world.has(&away(), second).await);
        let code = ReplicationFailure::ImageTagAlreadyExists;
        assert_eq!(world.statuses(second).await, [failed(code)]);
    }
}

#[tokio::test]
async fn an_index_arrives_with_members_that_were_pushed_before_the_configuration() {
    for mut world in worlds(&[], None).await {
        let [one, two] = [
            world.image(&[b"config", b"one"], &[]).await,
            world.image(&[b"config", b"two"], &["two"]).await,
        ];
        let inner = world.put(push(index(&[two]), &[])).await;
        world.configure(&home(), &rules(&[away()], None)).await;
        let outer = world.put(push(index(&[one, inner]), &["v1"])).await;
        world.replicate().await;
        assert_eq!(world.statuses(outer).await, [COMPLETE]);
        assert_eq!(world.tagged(&away(), "v1").await, Some(outer));
        for member in [one, two, inner] {
            assert!(world.has(&away(), member).await);
        }
        assert_eq!(
            world.tagged(&away(), "two").await,
            None,
            "it was pushed before"
        );
        assert!(world.links(&away(), b"two").await);
    }
}

#[tokio::test]
async fn another_account_lets_images_in_by_the_policy_of_its_registry() {
    let theirs = registry("210987654321", HOME);
    for mut world in worlds(std::slice::from_ref(&theirs), None).await {
        let denied = world.image(&[b"a"], &["v1"]).await;
        world.replicate().await;
        let code = ReplicationFailure::AccessDenied;
        assert_eq!(world.statuses(denied).await, [failed(code)]);
        let policy = |actions: &[&str]| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "in", "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
                "Action": actions, "Resource": "*",
            }]})
            .to_string()
        };
        let settings = world.registry().settings.clone();
        let may_not_create = policy(&["ecr:ReplicateImage"]);
        settings
            .put_policy(&theirs, may_not_create)
            .await
            .expect("put");
        let second = world.image(&[b"b"], &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.statuses(second).await, [failed(code)]);
        assert!(world.at(&theirs).await.is_none());

        let all = policy(&["ecr:ReplicateImage", "ecr:CreateRepository"]);
        settings.put_policy(&theirs, all).await.expect("put");
        let third = world.image(&[b"c"], &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.statuses(third).await, [COMPLETE]);
        assert_eq!(world.tagged(&theirs, "v1").await, Some(third));
    }
}

#[tokio::test]
async fn a_tag_that_moved_before_it_was_copied_names_the_last_image() {
    for mut world in worlds(&[away()], None).await {
        let first = world.image(&[b"a"], &["v1"]).await;
        let second = world.image(&[b"b"], &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v1").await, Some(second));
        assert!(world.has(&away(), first).await, "it was pushed as well");
        assert_eq!(world.statuses(first).await, [COMPLETE]);
    }
}

#[tokio::test]
async fn what_is_deleted_before_it_was_copied_leaves_nothing() {
    for mut world in worlds(&[away()], None).await {
        let image = world.image(&[b"a"], &["v1", "v2"]).await;
        world.delete(image).await;
        world.replicate().await;
        assert!(!world.has(&away(), image).await);
        assert_eq!(world.count(ROWS).await, 0);

        // Rows of an image that was copied go with it, and one that came back keeps its own.
        let image = world.image(&[b"b"], &["v1"]).await;
        world.replicate().await;
        world.delete(image).await;
        world.image(&[b"b"], &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.statuses(image).await, [COMPLETE]);
        world.delete(image).await;
        world.replicate().await;
        assert_eq!(world.count(ROWS).await, 0);

        // Those of a deleted repository go with its cleanup.
        world.image(&[b"c"], &["v1"]).await;
        let repositories = &world.registry().repositories;
        repositories
            .delete(&world.source, true)
            .await
            .expect("deleted");
        let mut cleanup = repositories.cleanup();
        while cleanup
            .pass(world.server.clock.now())
            .await
            .expect("a pass")
            .again
        {}
        assert_eq!(world.count(ROWS).await, 0);
        world.replicate().await;
        assert_eq!(
            world.count("SELECT COUNT(*) FROM image_references").await,
            1
        );
    }
}

#[tokio::test]
async fn the_deletion_of_an_image_whose_copy_failed_takes_its_tags_away() {
    let theirs = registry("210987654321", HOME);
    for mut world in worlds(std::slice::from_ref(&theirs), Some(true)).await {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "in", "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
            "Action": ["ecr:ReplicateImage", "ecr:CreateRepository"], "Resource": "*",
        }]});
        let settings = world.registry().settings.clone();
        let allow = async || {
            let put = settings.put_policy(&theirs, policy.to_string()).await;
            put.expect("put");
        };
        allow().await;
        let copied = world.image(&[b"a"], &["v1", "v2"]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&theirs, "v1").await, Some(copied));

        settings.delete_policy(&theirs).await.expect("deleted");
        let refused = world.image(&[b"b"], &["v1", "v2"]).await;
        world.replicate().await;
        allow().await;
        let moved = world.image(&[b"c"], &["v2"]).await;
        world.replicate().await;
        world.delete(refused).await;
        world.replicate().await;
        assert_eq!(world.tagged(&theirs, "v1").await, None);
        assert_eq!(world.tagged(&theirs, "v2").await, Some(moved));
    }
}

#[tokio::test]
async fn deletions_are_replicated_where_the_rule_says_so() {
    for mut world in worlds(&[away()], Some(true)).await {
        let third = registry(ACCOUNT, "ap-south-1");
        let image = world.image(&[b"a"], &["v1", "v2"]).await;
        world.replicate().await;
        world.configure(&away(), &rules(&[third], Some(true))).await;
        let images = world.registry().images.clone();
        let source = world.source.id;
        images
            .delete_tag(source, &tag("v1"))
            .await
            .expect("deleted");
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v1").await, None);
        assert_eq!(world.tagged(&away(), "v2").await, Some(image));

        // Removed and set again before the removal was replicated.
        images
            .delete_tag(source, &tag("v2"))
            .await
            .expect("deleted");
        world.put(push(manifest(&[b"a"]), &["v2"])).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v2").await, Some(image));
        // The same with the whole image.
        world.delete(image).await;
        world.image(&[b"a"], &["v3"]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v3").await, Some(image));
        assert_eq!(
            world.tagged(&away(), "v2").await,
            None,
            "that tag is not back"
        );

        let reference = Reference::Digest(image);
        let deleted = images.delete_as_ecr(source, &reference).await;
        deleted.expect("deleted");
        world.replicate().await;
        assert!(!world.has(&away(), image).await);
        assert_eq!(world.count(ROWS).await, 0, "and nothing goes further");
    }
}

#[tokio::test]
async fn what_the_destination_has_of_its_own_is_not_deleted_there() {
    for mut world in worlds(&[away()], Some(true)).await {
        let first = world.image(&[b"first"], &["v1"]).await;
        world.replicate().await;
        let to = world.at(&away()).await.expect("the repository");
        // One was there before the source had it, the other is pushed there as well.
        let images = world.registry().images.clone();
        let uploads = &world.registry().uploads;
        for layer in [b"own".as_slice(), b"first"] {
            let digest = digest(layer);
            let uploaded = uploads.monolithic(to.id, &digest, part(None, layer));
            uploaded.await.expect("uploaded");
        }
        let own = push(manifest(&[b"own"]), &["prod"]);
        let own = images.put(&to, own).await.expect("put");
        let again = push(manifest(&[b"first"]), &["prod1"]);
        images.put(&to, again).await.expect("put");
        assert_eq!(world.image(&[b"own"], &["prod"]).await, own);
        world.replicate().await;
        for image in [own, first] {
            world.delete(image).await;
        }
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "prod").await, Some(own));
        assert_eq!(world.tagged(&away(), "prod1").await, Some(first));
        assert_eq!(world.count(ROWS).await, 0);
    }
}

#[tokio::test]
async fn a_member_that_an_index_of_the_destination_needs_is_not_deleted_there() {
    for mut world in worlds(&[away()], Some(true)).await {
        let member = world.image(&[b"a"], &[]).await;
        let outer = world.put(push(index(&[member]), &["v1"])).await;
        world.replicate().await;
        // The Distribution API deletes a member at the source.
        world.delete(member).await;
        world.replicate().await;
        assert!(world.has(&away(), member).await);
        world.delete(outer).await;
        for _ in 0..3 {
            world.server.clock.advance(Duration::from_mins(5));
            world.replicate().await;
        }
        assert!(!world.has(&away(), outer).await && !world.has(&away(), member).await);
        assert_eq!(world.count(ROWS).await, 0);
    }
}

#[tokio::test]
async fn layers_that_come_later_are_waited_for() {
    for db in testing::every_engine(MIGRATIONS) {
        let server = TestServer::over(db, true, Config::default()).await;
        let mut world = World::of(server, RemoteDestinations::default()).await;
        world.configure(&home(), &rules(&[away()], None)).await;
        let image = world.image(&[b"a", b"b"], &["v1"]).await;
        // As an import does that brings layers later.
        let content = world.registry().content.clone();
        content
            .unlink(world.source.id, &digest(b"b"))
            .await
            .expect("unlinked");
        world.replicate().await;
        assert_eq!(world.statuses(image).await, [WAITING]);
        assert!(!world.has(&away(), image).await);
        let progress = world.registry().replication_progress().clone();
        assert_eq!((progress.repeated(), progress.waiting()), (1, 1));
        assert_eq!((progress.ended(), progress.failed()), (0, 0));
        let uploads = &world.registry().uploads;
        let late = digest(b"b");
        let uploaded = uploads.monolithic(world.source.id, &late, part(None, b"b"));
        uploaded.await.expect("uploaded");
        world.server.clock.advance(Duration::from_secs(6));
        world.replicate().await;
        assert_eq!(world.statuses(image).await, [COMPLETE]);
        assert_eq!((progress.ended(), progress.failed()), (1, 0));

        // Those that never come make it fail in the end.
        let image = world.image(&[b"c"], &["v1"]).await;
        content
            .unlink(world.source.id, &digest(b"c"))
            .await
            .expect("unlinked");
        for _ in 0..20 {
            world.replicate().await;
            world.server.clock.advance(Duration::from_hours(2));
        }
        let code = ReplicationFailure::LayersNotFound;
        assert_eq!(world.statuses(image).await, [failed(code)]);
        assert_eq!((progress.ended(), progress.failed()), (1, 1));
    }
}

#[tokio::test]
async fn an_image_of_many_layers_is_linked_in_steps() {
    for mut world in worlds(&[away()], None).await {
        let layers: Vec<Vec<u8>> = (0..150_u32).map(|one| one.to_le_bytes().to_vec()).collect();
        let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let image = world.image(&layers, &["v1"]).await;
        world.replicate().await;
        assert_eq!(world.tagged(&away(), "v1").await, Some(image));
        for layer in layers {
            assert!(world.links(&away(), layer).await);
        }
    }
}

#[tokio::test]
async fn two_servers_share_the_work_and_one_that_died_loses_its_claim() {
    for mut world in worlds(&[away()], None).await {
        let mut other =
            ImageReplication::new(world.server.another(), RemoteDestinations::default());
        let mut images = Vec::new();
        for number in 0..40_u8 {
            images.push(world.image(&[&[number]], &[&format!("v{number}")]).await);
        }
        // A server that dies with its claims.
        let (to, now) = (away(), world.server.clock.now());
        let claimed = world.server.db.write(move |tx| {
            let until = now.plus(Duration::from_mins(3));
            Ok::<_, Error>(crate::store::replication::claim(tx, &to, now, until, 8)?)
        });
        assert_eq!(claimed.await.expect("claimed").len(), 8);
        for _ in 0..10 {
            let (here, there) = tokio::join!(world.replication.pass(now), other.pass(now));
            here.expect("a pass");
            there.expect("a pass");
        }
        let waiting = "SELECT COUNT(*) FROM image_replications WHERE state = 'waiting'";
        assert_eq!(world.count(waiting).await, 8);
        world.server.clock.advance(Duration::from_mins(4));
        world.replicate().await;
        for (number, image) in images.iter().enumerate() {
            assert_eq!(world.statuses(*image).await, [COMPLETE]);
            assert_eq!(
                world.tagged(&away(), &format!("v{number}")).await,
                Some(*image)
            );
        }
    }
}

#[tokio::test]
async fn the_destination_gets_an_event_for_each_copy_and_each_failure() {
    let theirs = registry("210987654321", HOME);
    let config = Config {
        event_sinks: vec![crate::SinkFilter {
            name: "one".to_owned(),
            detail_types: vec!["ECR Replication Action".to_owned()],
            ..crate::SinkFilter::default()
        }],
        ..Config::default()
    };
    let db = wharfinger_db::Db::memory(MIGRATIONS).expect("an index");
    let server = TestServer::over(db, true, config).await;
    let mut world = World::of(server, RemoteDestinations::default()).await;
    let configured = rules(&[theirs, away()], None);
    world.configure(&home(), &configured).await;
    let image = world.image(&[b"a"], &["v1"]).await;
    world.replicate().await;
    let read = world.server.db.read(|tx| {
        let sql = "SELECT body FROM event_outbox ORDER BY id";
        tx.query(sql, &[], |row| Ok(row.text(0).to_owned()))
            .map_err(Error::from)
    });
    let mut events: Vec<serde_json::Value> = read
        .await
        .expect("read")
        .iter()
        .map(|body| serde_json::from_str(body).expect("JSON"))
        .collect();
    events.sort_by_key(|event| event["region"].to_string());
    assert_eq!(events.len(), 2);
    let detail = |result| {
        json!({
            "result": result, "repository-name": "web/x", "image-digest": image.to_string(),
            "source-account": ACCOUNT, "action-type": "REPLICATE", "source-region": HOME,
            "image-tag": "v1",
        })
    };
    let [there, other] = &events[..] else {
        unreachable!("two were counted");
    };
    assert_eq!(
        (&there["region"], &there["account"]),
        (&json!(AWAY), &json!(ACCOUNT))
    );
    assert_eq!(there["detail"], detail("SUCCESS"));
    let resource = format!("arn:aws:ecr:{AWAY}:{ACCOUNT}:repository/web/x");
    assert_eq!(there["resources"], json!([resource]));
    assert_eq!(other["account"], "210987654321");
    assert_eq!(other["detail"], detail("FAILURE"));
}
