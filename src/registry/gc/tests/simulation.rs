//! A simulation of pushes, mounts, deletions and collectors that crash, with the production code
//! and a clock of its own.
//!
//! Each seed is a history. In every third one the blobs lie in a folder of one server, in the
//! others on an object store under two servers, which both collect. After every event no image
//! lacks content, nobody who was told of content lacks it for half a lease, and whatever nothing
//! needs is known to the collector. At the end everything dead is gone.

use futures_util::future;
use wharfinger_base::Timestamp;

use super::*;
use crate::store::gc::Condemned;
use crate::tests::simulations::{self, Dice};
use crate::{Registry, RepositoryCleanup};

/// Seeds of an ordinary run, and events of each.
const SEEDS: u64 = 24;
const EVENTS: usize = 120;
const REPOSITORIES: usize = 3;
/// Contents that layers are chosen from: few, so that repositories and images share them.
const CONTENTS: [&[u8]; 6] = [b"a", b"bb", b"ccc", b"dddd", b"eeeee", b"ffffff"];

/// A client in the middle of a push.
struct PushUnderWay {
    repository: usize,
    layers: Vec<&'static [u8]>,
    /// When the server said of each layer so far that the repository has it.
    told: Vec<Timestamp>,
}

struct Image {
    repository: usize,
    digest: Digest,
    layers: Vec<&'static [u8]>,
}

struct World {
    base: TestServer,
    disk: bool,
    servers: Vec<Registry>,
    repositories: Vec<Repository>,
    names: usize,
    pushes: Vec<PushUnderWay>,
    images: Vec<Image>,
    /// What collectors have condemned and not removed yet, with the server of each.
    held: Vec<(usize, Vec<Condemned>)>,
    stored: Vec<Blob>,
    dice: Dice,
}

impl World {
    async fn new(seed: u64) -> Self {
        let disk = seed.is_multiple_of(3);
        let config = Config {
            several_replicas: !disk,
            ..Config::default()
        };
        let db = wharfinger_db::Db::memory(MIGRATIONS).expect("an index");
        let base = TestServer::over(db, disk, config).await;
        let mut servers = vec![base.registry.clone()];
        servers.extend((!disk).then(|| base.another()));
        let mut world = Self {
            base,
            disk,
            servers,
            repositories: Vec::new(),
            names: 0,
            pushes: Vec::new(),
            images: Vec::new(),
            held: Vec::new(),
            stored: Vec::new(),
            dice: Dice::new(seed),
        };
        for _ in 0..REPOSITORIES {
            let made = world.make_repository().await;
            world.repositories.push(made);
        }
        world
    }

    async fn make_repository(&mut self) -> Repository {
        self.names += 1;
        self.base.repository(&format!("r/{}", self.names)).await
    }

    fn server(&mut self) -> (usize, Registry) {
        let server = self.dice.below(self.servers.len());
        (server, self.servers[server].clone())
    }

    fn now(&self) -> Timestamp {
        self.base.clock.now()
    }

    async fn event(&mut self) {
        match self.dice.below(16) {
            0 | 1 => self.begin_push(),
            2..=6 => self.go_on_with_a_push().await,
            7 => self.delete_an_image().await,
            8 => self.delete_a_repository().await,
            9 => self.clean_up().await,
            10 | 11 => self.collect_a_step().await,
            12 => self.condemn().await,
            13 => self.remove_late().await,
            14 => self.collect_during_uploads().await,
            _ => self.let_time_pass(),
        }
    }

    fn let_time_pass(&mut self) {
        let by = match self.dice.below(4) {
            0 => REMOVAL_IS_OVER,
            1 => LEASE + MOMENT,
            _ => LEASE / 4,
        };
        self.base.clock.advance(by);
    }

    fn begin_push(&mut self) {
        let layers = (0..=self.dice.below(3))
            .map(|_| CONTENTS[self.dice.below(CONTENTS.len())])
            .collect();
        self.pushes.push(PushUnderWay {
            repository: self.dice.below(REPOSITORIES),
            layers,
            told: Vec::new(),
        });
    }

    async fn go_on_with_a_push(&mut self) {
        if self.pushes.is_empty() {
            return;
        }
        let place = self.dice.below(self.pushes.len());
        let mut push = self.pushes.swap_remove(place);
        let repository = self.repositories[push.repository].clone();
        if let Some(layer) = push.layers.get(push.told.len()) {
            self.bring(&repository, layer).await;
            push.told.push(self.now());
            self.pushes.push(push);
            return;
        }
        match self.base.put(&repository, &push.layers).await {
            Ok(digest) => {
                let same = |image: &&mut Image| {
                    image.repository == push.repository && image.digest == digest
                };
                if self.images.iter_mut().find(same).is_none() {
                    self.images.push(Image {
                        repository: push.repository,
                        digest,
                        layers: push.layers,
                    });
                }
            }
            Err(Error::MissingBlobs(_)) => {
                let now = self.now();
                let late = push.told.iter().any(|told| now.since(*told) >= LEASE / 2);
                assert!(late, "a layer went though its client was quick");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// What a client does for a layer: looks for it, mounts it, or uploads it.
    async fn bring(&mut self, repository: &Repository, layer: &'static [u8]) {
        let (_, server) = self.server();
        let digest = digest(layer);
        if !self.dice.one_in(4)
            && let Ok(blob) = server.content.get_and_keep(repository.id, &digest).await
        {
            assert!(self.base.is_stored(&blob).await, "it was said to exist");
            return;
        }
        let from = self.repositories[self.dice.below(REPOSITORIES)].id;
        if self.dice.one_in(2)
            && from != repository.id
            && let Ok(blob) = server.content.mount(from, repository.id, &digest).await
        {
            assert!(self.base.is_stored(&blob).await, "it was mounted");
            return;
        }
        let uploaded = server
            .uploads
            .monolithic(repository.id, &digest, part(None, layer))
            .await;
        self.stored.push(uploaded.expect("uploaded"));
    }

    async fn delete_an_image(&mut self) {
        if self.images.is_empty() {
            return;
        }
        let place = self.dice.below(self.images.len());
        let image = self.images.swap_remove(place);
        let repository = self.repositories[image.repository].id;
        let (_, server) = self.server();
        if self.dice.one_in(2) {
            let deleted = server.images.delete_manifest(repository, &image.digest);
            deleted.await.expect("deleted");
        } else {
            let reference = Reference::Digest(image.digest);
            let deleted = server.images.delete_as_ecr(repository, &reference).await;
            assert_eq!(deleted.expect("deleted").len(), 1);
        }
    }

    async fn delete_a_repository(&mut self) {
        if !self.dice.one_in(3) {
            return;
        }
        let place = self.dice.below(REPOSITORIES);
        let deleted = self.base.registry.repositories.clone();
        let deleted = deleted.delete(&self.repositories[place], true).await;
        deleted.expect("deleted");
        self.pushes.retain(|push| push.repository != place);
        self.images.retain(|image| image.repository != place);
        self.repositories[place] = self.make_repository().await;
    }

    async fn clean_up(&mut self) {
        let mut cleanup: RepositoryCleanup = self.base.registry.repositories.cleanup();
        cleanup.pass(self.now()).await.expect("a pass");
    }

    async fn collect_a_step(&mut self) {
        let (_, server) = self.server();
        server.collector.step().await.expect("a step");
    }

    /// Condemns, and crashes before the bytes are gone, or before their rows are, or is just slow.
    async fn condemn(&mut self) {
        let (number, server) = self.server();
        let condemned = server.collector.condemn(self.now()).await;
        let condemned = condemned.expect("condemned").blobs;
        match self.dice.below(3) {
            0 => {}
            1 => {
                for condemned in &condemned {
                    assert!(server.collector.remove_bytes(condemned).await);
                }
            }
            _ => self.held.push((number, condemned)),
        }
    }

    async fn remove_late(&mut self) {
        if let Some((server, condemned)) = self.held.pop() {
            let removed = self.servers[server].collector.remove(&condemned).await;
            removed.expect("removed");
        }
    }

    /// At the same time: collectors, and uploads of content that may just be collected.
    async fn collect_during_uploads(&mut self) {
        let (_, collecting) = self.server();
        let (_, pushing) = self.server();
        let layer = CONTENTS[self.dice.below(CONTENTS.len())];
        let repository = self.repositories[self.dice.below(REPOSITORIES)].id;
        let digest = digest(layer);
        let uploads = (0..2).map(|_| {
            pushing
                .uploads
                .monolithic(repository, &digest, part(None, layer))
        });
        let (step, uploaded) =
            future::join(collecting.collector.step(), future::join_all(uploads)).await;
        step.expect("a step");
        for blob in uploaded {
            self.stored.push(blob.expect("uploaded"));
        }
        assert!(self.base.has_link(repository, layer).await);
    }

    async fn check(&self) {
        for image in &self.images {
            let repository = self.repositories[image.repository].id;
            for layer in &image.layers {
                self.assert_there(repository, layer).await;
            }
        }
        for push in &self.pushes {
            let repository = self.repositories[push.repository].id;
            for (layer, told) in push.layers.iter().zip(&push.told) {
                if self.now().since(*told) < LEASE / 2 {
                    self.assert_there(repository, layer).await;
                }
            }
        }
        for (what, sql) in [
            (
                "a link without a blob",
                "SELECT COUNT(*) FROM blob_links l
                 WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = l.digest)",
            ),
            (
                "a reference without a link",
                "SELECT COUNT(*) FROM image_references r JOIN images i ON i.id = r.image_id
                 JOIN repositories p ON p.id = r.repository_id
                 WHERE NOT EXISTS (SELECT 1 FROM blob_links l
                     WHERE l.repository_id = r.repository_id AND l.digest = r.child)",
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
        ] {
            assert_eq!(self.base.count(sql).await, 0, "{what}");
        }
    }

    async fn assert_there(&self, repository: RepositoryId, layer: &[u8]) {
        let digest = digest(layer);
        let found = self.base.registry.content.get(repository, &digest).await;
        let blob = found.expect("the link is there");
        assert!(self.base.is_stored(&blob).await, "its bytes are there");
    }

    /// Deletes everything; then nothing may be left.
    async fn end(&mut self) {
        self.pushes.clear();
        while !self.images.is_empty() {
            self.delete_an_image().await;
        }
        let mut cleanup = self.base.registry.repositories.cleanup();
        while cleanup.pass(self.now()).await.expect("a pass").again {}
        self.base.clock.advance(LEASE + REMOVAL_IS_OVER);
        let (_, server) = self.server();
        while server.collector.step().await.expect("a step").more {}
        for table in [
            "SELECT COUNT(*) FROM blobs",
            "SELECT COUNT(*) FROM blob_links",
            "SELECT COUNT(*) FROM blob_deletions",
            "SELECT COUNT(*) FROM image_references",
            "SELECT COUNT(*) FROM manifests",
            "SELECT COUNT(*) FROM deleted_images",
        ] {
            assert_eq!(self.base.count(table).await, 0, "{table}");
        }
        for blob in &self.stored {
            assert!(!self.base.is_stored(blob).await, "{} is dead", blob.key);
        }
        assert_eq!(self.servers.len(), if self.disk { 1 } else { 2 });
    }
}

async fn history(seed: u64) -> u64 {
    let mut world = World::new(seed).await;
    for _ in 0..EVENTS {
        world.event().await;
        world.check().await;
    }
    world.end().await;
    world.stored.len() as u64
}

#[test]
fn nothing_alive_is_collected_and_nothing_dead_stays() {
    simulations::run(SEEDS, 4, history);
}
