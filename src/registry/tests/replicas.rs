//! Two servers over one PostgreSQL, each with its own caches. The test passes where there is no
//! test server.

use std::sync::atomic::{AtomicUsize, Ordering};

use wharfinger_base::Ids;
use wharfinger_db::{Upgrade, testing};

use super::repository_cache::{deny, number_of};
use super::*;
use crate::pull_cache::PullCache;
use crate::repository_cache::RepositoryLookup;

const ROUNDS: usize = 60;
const SEEDS: u64 = 3;

/// What one server keeps in memory beside the index.
#[derive(Clone)]
struct Replica {
    db: Db,
    repositories: Repositories,
    images: Images,
    pulls: PullCache,
}

impl Replica {
    fn new(db: Db, clock: &Clock) -> Self {
        let images = Images::new(db.clone(), clock.clone(), true);
        Self {
            repositories: Repositories::new(db.clone(), clock.clone()),
            pulls: PullCache::new(images.manifests.clone()),
            images,
            db,
        }
    }

    /// The numbers of the policy and of the image that the tag names, through the caches.
    async fn pull(&self, key: &RepositoryLookup) -> (usize, usize) {
        let (resources, pulls) = (self.repositories.resources.clone(), self.pulls.clone());
        let key = key.clone();
        let read = self.db.get(move |tx| {
            let resource = resources.get(tx, &key)?.expect("it exists");
            let target = PullTarget::Manifest(Reference::Tag(tag("newest")));
            let pulled = pulls.get(tx, resource.repository()?.id, &target)?;
            Ok::<_, Error>((resource, pulled))
        });
        let (resource, pulled) = read.await.expect("reads");
        let policy = resource.repository().expect("it exists").policy.as_ref();
        let image = match pulled {
            Pulled::Manifest(manifest) => manifest.image.artifact_type.as_deref().map(number_of),
            Pulled::Nothing | Pulled::Blob(_) => None,
        };
        let policy = policy.map(|policy| number_of(policy.text()));
        (policy.unwrap_or_default(), image.unwrap_or_default())
    }
}

/// Policy and image `n` are written in this order, by either server. A read that begins after a
/// write was acknowledged finds it, on both servers, and the two are of one snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_replica_serves_a_policy_or_tag_older_than_an_acknowledged_write() {
    for seed in 0..SEEDS {
        let Some(config) = testing::postgres_config() else {
            return;
        };
        let open = || Db::open(&config, MIGRATIONS, Upgrade::Apply).expect("opens");
        let world = World::on(open(), true).await;
        let replicas = [
            Replica::new(world.db.clone(), &world.clock),
            Replica::new(open(), &world.clock),
        ];
        let key = RepositoryLookup::of(&world.registry, &name("team/web"));
        let acknowledged = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let readers: Vec<_> = (0..8)
            .map(|number| {
                let (replica, key) = (replicas[number % 2].clone(), key.clone());
                let acknowledged = Arc::clone(&acknowledged);
                tokio::spawn(read_until_last(replica, key, acknowledged))
            })
            .collect();
        let ids = Ids::seeded(seed);
        for number in 1..=ROUNDS {
            let [first, second, pause] = ids.bytes::<3>().map(usize::from);
            let set = replicas[first % 2]
                .repositories
                .set_policy(&world.repository, deny(number));
            set.await.expect("set");
            acknowledged[0].store(number, Ordering::SeqCst);
            let more = format!(r#","artifactType":"application/n{number}n""#);
            let body = image("a", &more);
            let put = replicas[second % 2]
                .images
                .put(&world.repository, push(&body, &["newest"]));
            put.await.expect("pushed");
            acknowledged[1].store(number, Ordering::SeqCst);
            // Reads between two commits find the caches filled.
            for _ in 0..pause % 4 {
                let (policy, image) = replicas[pause % 2].pull(&key).await;
                assert_eq!((policy, image), (number, number), "seed {seed}");
            }
        }
        for reader in readers {
            reader.await.expect("no reader finds anything old");
        }
    }
}

async fn read_until_last(
    replica: Replica,
    key: RepositoryLookup,
    acknowledged: Arc<[AtomicUsize; 2]>,
) {
    let least = || acknowledged.each_ref().map(|at| at.load(Ordering::SeqCst));
    loop {
        let [policy_before, image_before] = least();
        let (policy, image) = replica.pull(&key).await;
        assert!(
            policy >= policy_before,
            "policy {policy}, not {policy_before}"
        );
        assert!(image >= image_before, "image {image}, not {image_before}");
        assert!(policy == image || policy == image + 1, "{policy} {image}");
        if image == ROUNDS {
            return;
        }
    }
}
