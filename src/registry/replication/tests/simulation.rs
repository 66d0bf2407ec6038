//! A simulation of pushes, mounts, looks, deletions, lifecycle runs, replications, backfills,
//! collectors and servers that die, with the production code and a clock of its own.
//!
//! Each seed is a history. After every event no image at either side lacks content, no row dangles,
//! and whatever nothing needs is known to the collector. At the end everything is replicated, and
//! source and destination have the same images under the same tags; then all is deleted, and
//! nothing is left.

use wharfinger_base::Page;

use super::*;
use crate::lifecycle::LifecycleReconciler;
use crate::listings::{ImageFilter, ImagePosition};
use crate::store::replication as store;
use crate::tests::simulations::{self, Dice};

/// Seeds of an ordinary run, and events of each.
const SEEDS: u64 = 16;
const EVENTS: usize = 100;
/// Contents that layers are chosen from: few, so that images share them.
const CONTENTS: [&[u8]; 5] = [b"a", b"bb", b"ccc", b"dddd", b"eeeee"];
const TAGS: [&str; 3] = ["v1", "v2", "v3"];
const LEASE: Duration = Duration::from_hours(24);

/// Removes images that no tag names, but for the last one.
const POLICY: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged",
    "countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}"#;

struct Simulation {
    world: World,
    /// A second server on the same index and blobs.
    other: ImageReplication,
    dice: Dice,
    copies: usize,
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let db = wharfinger_db::Db::memory(MIGRATIONS).expect("an index");
        let config = Config {
            several_replicas: true,
            ..Config::default()
        };
        let server = TestServer::over(db, false, config).await;
        let other = ImageReplication::new(server.another(), RemoteDestinations::default());
        let world = World::of(server, RemoteDestinations::default()).await;
        world
            .configure(&home(), &rules(&[away()], Some(true)))
            .await;
        let lifecycle = &world.registry().lifecycle;
        let put = lifecycle.put(&world.source, POLICY.to_owned()).await;
        put.expect("a policy");
        Self {
            world,
            other,
            dice: Dice::new(seed),
            copies: 0,
        }
    }

    async fn event(&mut self) {
        match self.dice.below(16) {
            0..=3 => self.push().await,
            4 => self.push_an_index().await,
            5 => self.delete_an_image().await,
            6 => self.delete_a_tag().await,
            7..=9 => self.replicate_some().await,
            10 => self.die_with_claims().await,
            11 => self.replicate_during_changes().await,
            12 => self.backfill().await,
            13 => {
                let step = self.world.registry().collector.step().await;
                step.expect("a step");
            }
            14 => self.run_the_lifecycle().await,
            _ => {
                let by = self
                    .dice
                    .one_of(&[LEASE / 4, LEASE + LEASE / 4, Duration::from_mins(4)]);
                self.world.server.clock.advance(by);
            }
        }
    }

    /// What a client does for a layer: looks for it, mounts it from the destination, or uploads it.
    async fn bring(&self, layer: &'static [u8]) {
        let (registry, to, digest) = (self.world.registry(), self.world.source.id, digest(layer));
        let content = &registry.content;
        if self.dice.below(4) > 0 && content.get_and_keep(to, &digest).await.is_ok() {
            return;
        }
        if self.dice.below(2) == 0
            && let Some(from) = self.world.at(&away()).await
            && content.mount(from.id, to, &digest).await.is_ok()
        {
            return;
        }
        let uploaded = registry.uploads.monolithic(to, &digest, part(None, layer));
        uploaded.await.expect("uploaded");
    }

    async fn push(&self) {
        let layers: Vec<&'static [u8]> = (0..=self.dice.below(2))
            .map(|_| self.dice.one_of(&CONTENTS))
            .collect();
        for layer in &layers {
            self.bring(layer).await;
        }
        let tag = self.dice.one_of(&TAGS);
        let tags: &[&str] = if self.dice.below(4) == 0 { &[] } else { &[tag] };
        self.world.put(push(manifest(&layers), tags)).await;
    }

    async fn push_an_index(&self) {
        let images = self.images(&self.world.source).await;
        let members: Vec<Digest> = images.iter().map(|(digest, _)| *digest).take(2).collect();
        let tag = self.dice.one_of(&TAGS);
        if !members.is_empty() {
            self.world.put(push(index(&members), &[tag])).await;
        }
    }

    /// The images of a repository with their tags, by digest.
    async fn images(&self, repository: &Repository) -> Vec<(Digest, Vec<String>)> {
        let images = &self.world.registry().images;
        let any = ImageFilter {
            tags: crate::TagStatus::Any,
            status: None,
        };
        let page = images.describe(repository.id, any, ImagePosition::default(), 1_000);
        let Page { items, .. } = page.await.expect("a page");
        let shown = items.into_iter().map(|one| {
            let tags = one.tags.iter().map(ToString::to_string).collect();
            (one.image.digest, tags)
        });
        shown.collect()
    }

    async fn delete_an_image(&self) {
        let images = self.images(&self.world.source).await;
        if images.is_empty() {
            return;
        }
        let (digest, _) = images[self.dice.below(images.len())];
        // One that an index has as a member stays, and one that was deleted meanwhile is gone.
        let reference = Reference::Digest(digest);
        let deleted = self.world.registry().images.clone();
        match deleted
            .delete_as_ecr(self.world.source.id, &reference)
            .await
        {
            Ok(_) | Err(Error::ReferencedByIndex { .. } | Error::NoSuchImage(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete_a_tag(&self) {
        let tag = tag(self.dice.one_of(&TAGS));
        let images = &self.world.registry().images;
        match images.delete_tag(self.world.source.id, &tag).await {
            Ok(()) | Err(Error::NoSuchImage(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn replicate_some(&mut self) {
        let now = self.world.server.clock.now();
        let here = self.dice.below(2) == 0;
        let reconciler = if here {
            &mut self.world.replication
        } else {
            &mut self.other
        };
        self.copies += reconciler.pass(now).await.expect("a pass").done;
    }

    async fn die_with_claims(&self) {
        let (to, now) = (away(), self.world.server.clock.now());
        let claimed = self.world.server.db.write(move |tx| {
            let until = now.plus(Duration::from_mins(3));
            Ok::<_, Error>(store::claim(tx, &to, now, until, 4)?)
        });
        claimed.await.expect("claimed");
    }

    /// At the same time: both servers replicate, and a client pushes and deletes.
    async fn replicate_during_changes(&mut self) {
        let now = self.world.server.clock.now();
        let mut other =
            ImageReplication::new(self.world.server.another(), RemoteDestinations::default());
        let client = async {
            self.push().await;
            self.delete_an_image().await;
            self.delete_a_tag().await;
        };
        let step = self.world.registry().collector.step();
        let (first, second, (), step) =
            tokio::join!(other.pass(now), self.other_pass(now), client, step);
        first.expect("a pass");
        second.expect("a pass");
        step.expect("a step");
    }

    async fn other_pass(&self, now: wharfinger_base::Timestamp) -> anyhow::Result<()> {
        let registry = self.world.registry().clone();
        let mut another = ImageReplication::new(registry, RemoteDestinations::default());
        another.pass(now).await.map(drop)
    }

    async fn backfill(&self) {
        let replications = &self.world.registry().replications;
        match replications.start_backfill(&home(), &away()).await {
            Ok(begun) => {
                if self.dice.below(2) == 0 {
                    let id = begun.id.to_string();
                    let stopped = replications.stop_backfill(&home(), &id).await;
                    stopped.expect("stopped");
                }
            }
            Err(Error::BackfillInProgress { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn run_the_lifecycle(&self) {
        let lifecycle = self.world.registry().lifecycle.clone();
        let requested = lifecycle.request_evaluation(self.world.source.id).await;
        requested.expect("requested");
        let mut reconciler = LifecycleReconciler(lifecycle);
        let now = self.world.server.clock.now();
        reconciler.pass(now).await.expect("a pass");
    }

    async fn check(&self) {
        for (what, sql) in [
            (
                "a link without a blob",
                "SELECT COUNT(*) FROM blob_links l
                 WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest)",
            ),
            (
                "a reference without content",
                "SELECT COUNT(*) FROM image_references r JOIN images i ON i.id = r.image_id
                 WHERE NOT EXISTS (SELECT 1 FROM blob_links l
                     WHERE l.repository_id = r.repository_id AND l.digest = r.child)
                 AND NOT EXISTS (SELECT 1 FROM images m
                     WHERE m.repository_id = r.repository_id AND m.digest = r.child)",
            ),
            (
                "a tag without an image",
                "SELECT COUNT(*) FROM tags t
                 WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.id = t.image_id)",
            ),
            (
                "a blob without links that the collector does not know",
                "SELECT COUNT(*) FROM blobs b WHERE b.collect_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = b.digest)",
            ),
            (
                "a link without references that the collector does not know",
                "SELECT COUNT(*) FROM blob_links l
                 JOIN repositories p ON p.id = l.repository_id WHERE l.check_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM image_references r
                     WHERE r.repository_id = l.repository_id AND r.child = l.digest)",
            ),
            (
                "a replication that waits and is never due",
                "SELECT COUNT(*) FROM image_replications
                 WHERE state = 'waiting' AND due_at IS NULL",
            ),
            (
                "a replication of a deleted image that is not to be removed",
                "SELECT COUNT(*) FROM image_replications q
                 WHERE q.backfill = '' AND q.work = 'copy' AND q.due_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM images i
                     WHERE i.repository_id = q.repository_id AND i.digest = q.digest)
                 AND NOT EXISTS (SELECT 1 FROM image_replications f
                     WHERE f.repository_id = q.repository_id AND f.backfill = ''
                     AND f.digest = q.digest AND f.work = 'forget')",
            ),
        ] {
            assert_eq!(self.world.count(sql).await, 0, "{what}");
        }
        for registry in [home(), away()] {
            let Some(repository) = self.world.at(&registry).await else {
                continue;
            };
            for content in CONTENTS {
                let content = digest(content);
                let blobs = &self.world.registry().content;
                if let Ok(blob) = blobs.get(repository.id, &content).await {
                    let stored = self.world.server.blobs.has(&blob.key, blob.size).await;
                    assert!(stored.expect("looked"), "the bytes of a linked blob");
                }
            }
        }
    }

    /// Replicates all, compares both sides, and deletes everything; then nothing may be left.
    async fn end(&mut self) {
        self.settle().await;
        if let Some(there) = self.world.at(&away()).await {
            let (source, copy) = (
                self.images(&self.world.source).await,
                self.images(&there).await,
            );
            assert_eq!(source, copy, "both sides are the same");
        } else {
            assert!(self.images(&self.world.source).await.is_empty());
        }
        let repositories = self.world.registry().repositories.clone();
        for registry in [home(), away()] {
            if let Some(repository) = self.world.at(&registry).await {
                repositories
                    .delete(&repository, true)
                    .await
                    .expect("deleted");
            }
        }
        let mut cleanup = repositories.cleanup();
        while cleanup
            .pass(self.world.server.clock.now())
            .await
            .expect("a pass")
            .again
        {}
        self.world
            .server
            .clock
            .advance(Duration::from_hours(24 * 91));
        self.world.replicate().await;
        let collector = &self.world.registry().collector;
        while collector.step().await.expect("a step").more {}
        for table in [
            ROWS,
            "SELECT COUNT(*) FROM replication_backfills",
            "SELECT COUNT(*) FROM blobs",
            "SELECT COUNT(*) FROM blob_links",
            "SELECT COUNT(*) FROM image_references",
            "SELECT COUNT(*) FROM tags",
        ] {
            assert_eq!(self.world.count(table).await, 0, "{table}");
        }
    }

    /// Replicates until nothing waits. Members go once the indexes that name them have gone.
    async fn settle(&mut self) {
        for _ in 0..60 {
            self.world.replicate().await;
            let waiting = "SELECT COUNT(*) FROM image_replications WHERE due_at IS NOT NULL";
            if self.world.count(waiting).await == 0 {
                return;
            }
            self.world.server.clock.advance(Duration::from_mins(10));
        }
        panic!("the replication does not come to an end");
    }
}

async fn history(seed: u64) -> u64 {
    let mut simulation = Simulation::new(seed).await;
    for _ in 0..EVENTS {
        simulation.event().await;
        simulation.check().await;
    }
    simulation.end().await;
    simulation.copies as u64
}

#[test]
fn both_sides_are_the_same_in_the_end_and_nothing_dangles_meanwhile() {
    simulations::run(SEEDS, 4, history);
}
