//! Lifecycle policies over an index: evaluations, previews and the archive.

pub(super) mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{Db, testing};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference};

use crate::error::Error;
use crate::images::{Images, Push};
use crate::lifecycle::apply::{Claimed, EvaluationReport, apply};
use crate::lifecycle::plan::{Purpose, plan};
use crate::lifecycle::policy::{Action, LifecyclePolicy, StorageClass};
use crate::lifecycle::results::{PreviewResult, PreviewStatus};
use crate::lifecycle::service::Lifecycle;
use crate::lifecycle::tests::policies::{any_policy, policy_text};
use crate::listings::{ImageFilter, ImagePosition};
use crate::model::{
    ImageStatus, RegistryId, Repository, RepositorySettings, TagStatus, TaggedImage,
};
use crate::pull_cache::PullCache;
use crate::pull_target::{PullTarget, Pulled};
use crate::push_effects::PushEffects;
use crate::repositories::Repositories;
use crate::store;

const DAY: Duration = Duration::from_hours(24);
const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);

struct World {
    db: Db,
    clock: Clock,
    repositories: Repositories,
    images: Images,
    lifecycle: Lifecycle,
    repository: Repository,
}

impl World {
    async fn new() -> Self {
        Self::on(Db::memory(crate::MIGRATIONS).expect("an index")).await
    }

    async fn on(db: Db) -> Self {
        let clock = Clock::manual(START);
        let repositories = Repositories::new(db.clone(), clock.clone());
        let registry = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let name = "team/web".parse().expect("a name");
        let repository = repositories
            .create(&registry, &name, RepositorySettings::default())
            .await
            .expect("created");
        Self {
            images: Images::new(db.clone(), clock.clone(), true),
            lifecycle: Lifecycle::new(
                db.clone(),
                clock.clone(),
                Ids::default(),
                PushEffects::default(),
            ),
            db,
            clock,
            repositories,
            repository,
        }
    }

    async fn put(&self, body: String, tags: &[&str]) -> Digest {
        let push = Push {
            manifest: Manifest::parse(body.as_bytes(), None).expect("a manifest"),
            digest: Digest::of(Algorithm::Sha256, body.as_bytes()),
            bytes: Bytes::from(body),
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            refuse_existing: false,
        };
        self.images.put(&self.repository, push).await.expect("put")
    }

    async fn image(&self, seed: &str, tags: &[&str]) -> Digest {
        self.put(manifest(seed, ""), tags).await
    }

    /// An index of these images, by digest and tags.
    async fn index(&self, members: &[Digest], tags: &[&str]) -> Digest {
        let members: Vec<String> = members
            .iter()
            .map(|digest| {
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,
                        "digest":"{digest}"}}"#
                )
            })
            .collect();
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
                "manifests":[{}]}}"#,
            members.join(",")
        );
        self.put(body, tags).await
    }

    async fn referrer(&self, seed: &str, subject: &Digest) -> Digest {
        let subject = format!(
            r#","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
                "size":1,"digest":"{subject}"}}"#
        );
        self.put(manifest(seed, &subject), &[]).await
    }

    async fn set_policy(&self, policy: &str) {
        let set = self.lifecycle.put(&self.repository, policy.to_owned());
        set.await.expect("a policy");
    }

    async fn evaluate(&self) -> EvaluationReport {
        let evaluated = self.lifecycle.evaluate(self.repository.id).await;
        evaluated.expect("evaluated").expect("a policy")
    }

    /// All images, by digest.
    async fn all(&self, status: Option<ImageStatus>) -> BTreeMap<Digest, TaggedImage> {
        let (mut all, mut after) = (BTreeMap::new(), ImagePosition::default());
        loop {
            let filter = ImageFilter {
                tags: TagStatus::Any,
                status,
            };
            let page = self
                .images
                .describe(self.repository.id, filter, after, 3)
                .await
                .expect("a page");
            all.extend(
                page.items
                    .into_iter()
                    .map(|image| (image.image.digest, image)),
            );
            match page.next {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    async fn is_there(&self, digest: &Digest) -> bool {
        self.all(None).await.contains_key(digest)
    }

    /// Makes a preview, waits for it, and returns all of its results.
    async fn preview(&self) -> (PreviewStatus, Vec<PreviewResult>) {
        let started = self.lifecycle.start_preview(&self.repository, None).await;
        started.expect("started");
        let page = async |after| {
            let page = self
                .lifecycle
                .preview(&self.repository, TagStatus::Any, after, 2);
            page.await.expect("a page")
        };
        let mut first = page(-1).await;
        while first.preview.status == PreviewStatus::InProgress {
            tokio::time::sleep(Duration::from_millis(1)).await;
            first = page(-1).await;
        }
        let mut results = first.results.items;
        let mut next = first.results.next;
        while let Some(after) = next {
            let more = page(after).await;
            results.extend(more.results.items);
            next = more.results.next;
        }
        let count = |action| {
            results
                .iter()
                .filter(|result| result.action == action)
                .count()
        };
        assert_eq!(first.preview.expiring, count(Action::Expire) as u64);
        assert_eq!(first.preview.archiving, count(Action::Archive) as u64);
        (first.preview.status, results)
    }
}

fn manifest(seed: &str, extra: &str) -> String {
    let digest = |kind: &str| Digest::of(Algorithm::Sha256, format!("{kind}{seed}").as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":1,
            "digest":"{}"}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":1,
            "digest":"{}"}}]{extra}}}"#,
        digest("config"),
        digest("layer")
    )
}

fn keep(images: u32, action: &str) -> String {
    policy_text(&[format!(
        r#"{{"rulePriority":1,"selection":{{"tagStatus":"any",
            "countType":"imageCountMoreThan","countNumber":{images}}},"action":{{{action}}}}}"#
    )])
}

const EXPIRE: &str = r#""type":"expire""#;
const ARCHIVE: &str = r#""type":"transition","targetStorageClass":"archive""#;

#[tokio::test]
async fn an_index_protects_its_members_until_an_evaluation_after_it_is_gone() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let member = world.image("member", &[]).await;
        let index = world.index(&[member], &["multi"]).await;
        let newest = world.image("newest", &["newest"]).await;
        world.set_policy(&keep(1, EXPIRE)).await;
        assert_eq!(world.preview().await.1.len(), 1);
        assert_eq!(world.evaluate().await.expired, 1);
        assert!(!world.is_there(&index).await && world.is_there(&member).await);
        assert_eq!(world.evaluate().await.expired, 1);
        assert!(!world.is_there(&member).await && world.is_there(&newest).await);
        assert_eq!(world.evaluate().await, EvaluationReport::default());
        let policy = world.lifecycle.get(&world.repository).await.expect("it");
        assert_eq!(policy.evaluated_at, Some(START));
    }
}

#[tokio::test]
async fn referrers_go_with_their_subject_and_never_before() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let subject = world.image("subject", &["old"]).await;
        let signature = world.referrer("signature", &subject).await;
        let of_signature = world.referrer("of signature", &signature).await;
        world.set_policy(&keep(1, EXPIRE)).await;
        assert_eq!(
            world.evaluate().await.expired,
            0,
            "referrers are not counted"
        );
        world.image("newer", &["new"]).await;
        let (status, results) = world.preview().await;
        assert_eq!(status, PreviewStatus::Complete);
        let order: Vec<Digest> = results.iter().map(|result| result.digest).collect();
        assert_eq!(order, [of_signature, signature, subject]);
        assert!(results.iter().all(|result| result.priority == 1));
        assert_eq!(world.evaluate().await.expired, 3);
        assert_eq!(world.all(None).await.len(), 1);
    }
}

#[tokio::test]
async fn the_archive_takes_an_image_with_its_referrers_and_gives_them_back() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let id = world.repository.id;
        let old = world.image("old", &["old"]).await;
        let signature = world.referrer("signature", &old).await;
        let new = world.image("new", &["new"]).await;
        world.clock.advance(DAY);
        world.set_policy(&keep(1, ARCHIVE)).await;
        let report = world.evaluate().await;
        assert_eq!((report.expired, report.archived), (0, 2));
        let status = |digest: &Digest, all: &BTreeMap<Digest, TaggedImage>| {
            all.get(digest).map(|found| found.image.status)
        };
        let all = world.all(None).await;
        assert_eq!(status(&old, &all), Some(ImageStatus::Archived));
        assert_eq!(status(&signature, &all), Some(ImageStatus::Archived));
        assert_eq!(all[&old].image.archived_at, Some(START.plus(DAY)));
        let archived: BTreeSet<_> = world
            .all(Some(ImageStatus::Archived))
            .await
            .into_keys()
            .collect();
        assert_eq!(archived, BTreeSet::from([old, signature]));
        let active: Vec<_> = world
            .all(Some(ImageStatus::Active))
            .await
            .into_keys()
            .collect();
        assert_eq!(active, [new]);
        // An archived image is not pulled, also where it was read before.
        let by_tag = Reference::Tag("old".parse().expect("a tag"));
        assert!(matches!(
            world.images.get(id, &by_tag).await,
            Err(Error::ImageArchived(digest)) if digest == old
        ));
        let pulls = PullCache::new(world.images.manifests.clone());
        let pulled = async || {
            let (pulls, target) = (pulls.clone(), PullTarget::Manifest(by_tag.clone()));
            let read = world.db.get(move |tx| pulls.get(tx, id, &target)).await;
            matches!(read.expect("read"), Pulled::Manifest(_))
        };
        for _ in 0..3 {
            assert!(!pulled().await);
        }
        world.clock.advance(DAY);
        let restore = world
            .images
            .set_storage_class(id, &by_tag, StorageClass::Standard);
        assert_eq!(restore.await.expect("restored"), (old, ImageStatus::Active));
        for _ in 0..3 {
            assert!(pulled().await);
        }
        let all = world.all(Some(ImageStatus::Active)).await;
        assert_eq!(all.len(), 3);
        assert_eq!(all[&old].image.activated_at, Some(START.plus(2 * DAY)));
        // Restored images count as new ones: the other one is beyond the first now.
        assert_eq!(world.evaluate().await.archived, 1);
        let active = world.all(Some(ImageStatus::Active)).await;
        assert_ne!(pulled().await, active.is_empty());
        // So does a push.
        world.image("new", &["new"]).await;
        let new = &world.all(None).await[&new].image;
        assert_eq!(new.status, ImageStatus::Active);
        assert_eq!(new.activated_at, Some(START.plus(2 * DAY)));
    }
}

#[tokio::test]
async fn members_of_an_index_are_not_archived() {
    let world = World::new().await;
    let member = world.image("member", &["member"]).await;
    let index = world.index(&[member], &[]).await;
    let archive = async |digest: Digest| {
        let reference = Reference::Digest(digest);
        world
            .images
            .set_storage_class(world.repository.id, &reference, StorageClass::Archive)
            .await
    };
    let refused = archive(member).await;
    assert!(matches!(refused, Err(Error::ArchiveOfMember { by }) if by == index));
    assert_eq!(
        archive(index).await.expect("archived").1,
        ImageStatus::Archived
    );
    assert_eq!(
        archive(index).await.expect("again").1,
        ImageStatus::Archived
    );
    let missing = Digest::of(Algorithm::Sha256, b"missing");
    assert!(matches!(archive(missing).await, Err(Error::NoSuchImage(_))));
}

#[tokio::test]
async fn what_changed_since_the_plan_is_left_to_the_next_evaluation() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let id = world.repository.id;
        let text = policy_text(&[format!(
            r#"{{"rulePriority":1,"selection":{{"tagStatus":"untagged",
                "countType":"sinceImagePushed","countUnit":"days","countNumber":1}},
                "action":{{{EXPIRE}}}}}"#
        )]);
        let untouched = world.image("untouched", &[]).await;
        let tagged = world.image("tagged", &[]).await;
        let joined = world.image("joined", &[]).await;
        world.clock.advance(2 * DAY);
        world.set_policy(&text).await;
        let now = world.clock.now();
        let row = world
            .db
            .write(move |tx| store::lifecycle::claim(tx, id, now))
            .await;
        let row = row.expect("claimed").expect("a policy");
        let policy = Arc::new(LifecyclePolicy::parse(&text).expect("a policy"));
        let made = plan(&world.db, id, &policy, now, &Purpose::DryRun).await;
        let made = made.expect("planned").expect("a plan");
        assert_eq!(made.actions.len(), 3);
        world.image("tagged", &["now"]).await;
        world.index(&[joined], &["index"]).await;
        let effects = PushEffects::default();
        let claimed = Claimed {
            repository: id,
            policy,
            version: row.version,
            now,
        };
        let report = apply(&world.db, &world.clock, &effects, &claimed, made.clone()).await;
        assert_eq!(report.expect("applied").expect("all").expired, 1);
        assert!(!world.is_there(&untouched).await);
        assert!(world.is_there(&tagged).await && world.is_there(&joined).await);
        // Under a claim that was lost, nothing changes.
        world.set_policy(&text).await;
        let again = world.image("another", &[]).await;
        let report = apply(&world.db, &world.clock, &effects, &claimed, made).await;
        assert_eq!(report.expect("applied"), None);
        assert!(world.is_there(&again).await);
    }
}

#[tokio::test]
async fn one_evaluation_of_a_policy_runs_at_a_time_and_a_dead_one_is_overtaken() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let shared = db.engine() == "postgres";
        let world = World::on(db).await;
        let (id, now) = (world.repository.id, world.clock.now());
        assert_eq!(world.lifecycle.evaluate(id).await.expect("none"), None);
        world.set_policy(&keep(1, EXPIRE)).await;
        let claim = world
            .db
            .write(move |tx| store::lifecycle::claim(tx, id, now));
        assert!(claim.await.expect("claimed").is_some());
        assert_eq!(world.lifecycle.evaluate(id).await.expect("claimed"), None);
        if !shared {
            world.clock.advance(Duration::from_mins(6));
            assert!(
                world
                    .lifecycle
                    .evaluate(id)
                    .await
                    .expect("evaluated")
                    .is_some()
            );
        }
    }
}

#[tokio::test]
async fn policies_come_due_within_a_day_and_again_each_day() {
    let world = World::new().await;
    let due = async || world.lifecycle.due(world.clock.now()).await.expect("read");
    world.set_policy(&keep(1, EXPIRE)).await;
    world.clock.advance(DAY / 2);
    for _ in 0..3 {
        assert_eq!(due().await, Some(world.repository.id));
        world.evaluate().await;
        assert_eq!(due().await, None);
        world.clock.advance(DAY / 2);
    }
    world.evaluate().await;
    let requested = world
        .lifecycle
        .request_evaluation(world.repository.id)
        .await;
    assert!(requested.expect("requested"));
    assert_eq!(due().await, Some(world.repository.id));
    let removed = world.lifecycle.delete(&world.repository).await.expect("it");
    assert_eq!(removed.text, keep(1, EXPIRE));
    assert!(removed.evaluated_at.is_some());
    assert_eq!(due().await, None);
    assert!(matches!(
        world.lifecycle.delete(&world.repository).await,
        Err(Error::NoLifecyclePolicy { .. })
    ));
}

#[tokio::test]
async fn previews_are_made_one_at_a_time_fail_by_their_deadline_and_expire() {
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let (id, of) = (world.repository.id, &world.repository);
        let page = async || world.lifecycle.preview(of, TagStatus::Any, -1, 10).await;
        assert!(matches!(
            page().await,
            Err(Error::NoLifecyclePreview { .. })
        ));
        let start = async |text: Option<String>| world.lifecycle.start_preview(of, text).await;
        assert!(matches!(
            start(None).await,
            Err(Error::NoLifecyclePolicy { .. })
        ));
        assert!(matches!(
            start(Some("{}".to_owned())).await,
            Err(Error::LifecyclePolicy(_))
        ));
        // One that a server began before it died.
        let ends_at = START.plus(Duration::from_mins(30));
        let begin = world
            .db
            .write(move |tx| store::previews::begin(tx, id, "dead", "{}", ends_at));
        begin.await.expect("begun");
        let busy = start(Some(keep(1, EXPIRE))).await;
        assert!(matches!(
            busy,
            Err(Error::LifecyclePreviewInProgress { .. })
        ));
        world.clock.advance(Duration::from_mins(31));
        let failed = page().await.expect("a preview");
        assert_eq!(failed.preview.status, PreviewStatus::Failed);

        for seed in ["a", "b", "c"] {
            world.image(seed, &[seed]).await;
        }
        let untagged = world.image("d", &[]).await;
        world.clock.advance(DAY);
        world.image("e", &["e"]).await;
        world.set_policy(&keep(1, EXPIRE)).await;
        let (status, results) = world.preview().await;
        assert_eq!((status, results.len()), (PreviewStatus::Complete, 4));
        let bare = world
            .lifecycle
            .preview(of, TagStatus::Untagged, -1, 10)
            .await;
        let bare = bare.expect("a page").results.items;
        assert_eq!(bare.len(), 1);
        assert_eq!(bare[0].digest, untagged);
        let named = ["a", "e", "none"].map(|tag| Reference::Tag(tag.parse().expect("a tag")));
        let some = world.lifecycle.preview_of(of, named.to_vec()).await;
        let some = some.expect("a page").results.items;
        assert_eq!(some.len(), 1);
        assert_eq!(some[0].tags[0].as_str(), "a");

        world.clock.advance(DAY);
        let expired = page().await.expect("a preview");
        assert_eq!(expired.preview.status, PreviewStatus::Expired);
        assert!(expired.results.items.is_empty());
        assert_eq!(
            world.lifecycle.remove_old_results().await.expect("removed"),
            4
        );
        assert_eq!(
            world.lifecycle.remove_old_results().await.expect("removed"),
            0
        );
        world.repositories.delete(of, true).await.expect("deleted");
        assert!(matches!(
            page().await,
            Err(Error::NoLifecyclePreview { .. })
        ));
        assert_eq!(world.lifecycle.repositories().await.expect("none"), []);
        let late = world.lifecycle.put(of, keep(1, EXPIRE)).await;
        assert!(matches!(late, Err(Error::NoSuchRepository { .. })));
    }
}

/// One image of a generated repository.
#[derive(Clone, Debug)]
enum Made {
    Image {
        days: u8,
        tags: BTreeSet<String>,
    },
    /// An index of some of the images before it.
    Index(Vec<prop::sample::Index>),
    /// A referrer of an image before it.
    Referrer(prop::sample::Index),
    /// An image before it goes to the archive.
    Archived(prop::sample::Index),
}

fn any_made() -> impl Strategy<Value = Made> {
    let tags = prop::collection::btree_set("[ab]{1,2}", 0..3);
    prop_oneof![
        6 => (0..60_u8, tags).prop_map(|(days, tags)| Made::Image { days, tags }),
        1 => prop::collection::vec(any::<prop::sample::Index>(), 1..3).prop_map(Made::Index),
        2 => any::<prop::sample::Index>().prop_map(Made::Referrer),
        1 => any::<prop::sample::Index>().prop_map(Made::Archived),
    ]
}

async fn make(world: &World, made: Vec<Made>) {
    let mut digests = vec![world.image("first", &[]).await];
    for (number, one) in made.into_iter().enumerate() {
        let seed = number.to_string();
        let digest = match one {
            Made::Image { days, tags } => {
                world.clock.advance(DAY * u32::from(days));
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                world.image(&seed, &tags).await
            }
            Made::Index(members) => {
                let members: Vec<Digest> =
                    members.iter().map(|member| *member.get(&digests)).collect();
                world.index(&members, &[]).await
            }
            Made::Referrer(subject) => world.referrer(&seed, subject.get(&digests)).await,
            Made::Archived(image) => {
                let image = Reference::Digest(*image.get(&digests));
                let id = world.repository.id;
                // Members of an index are refused.
                let _ = world
                    .images
                    .set_storage_class(id, &image, StorageClass::Archive)
                    .await;
                continue;
            }
        };
        digests.push(digest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What a preview shows is what the evaluation does; nothing else changes; members of indexes
    /// and their referrers stay; each image is acted on once.
    #[test]
    fn an_evaluation_does_what_the_preview_showed(
        policy in any_policy(),
        made in prop::collection::vec(any_made(), 1..25),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let world = World::new().await;
            make(&world, made).await;
            world.clock.advance(DAY * 40);
            world.set_policy(&policy).await;
            let (status, shown) = world.preview().await;
            assert_eq!(status, PreviewStatus::Complete);
            let before = world.all(None).await;
            let mut expected: BTreeMap<Digest, Option<ImageStatus>> = before
                .iter()
                .map(|(digest, found)| (*digest, Some(found.image.status)))
                .collect();
            for result in &shown {
                let after = match result.action {
                    Action::Expire => None,
                    Action::Archive => Some(ImageStatus::Archived),
                };
                let last = expected.insert(result.digest, after);
                assert!(last.flatten().is_some_and(|last| Some(last) != after), "acted on once");
            }
            // An index that expires protects its members in this evaluation still.
            let mut members = BTreeSet::new();
            for digest in before.keys() {
                if store_has_index_of(&world.db, world.repository.id, *digest).await {
                    members.insert(*digest);
                }
            }
            let report = world.evaluate().await;
            assert_eq!(report.expired + report.archived, shown.len() as u64);
            let after = world.all(None).await;
            for (digest, status) in expected {
                assert_eq!(after.get(&digest).map(|found| found.image.status), status);
            }
            for (digest, found) in after {
                let subject = found.image.subject.filter(|subject| before.contains_key(subject));
                if let Some(subject) = subject
                    && !members.contains(&digest)
                {
                    assert!(world.is_there(&subject).await, "a referrer went with its subject");
                }
            }
        });
    }
}

async fn store_has_index_of(db: &Db, repository: crate::RepositoryId, digest: Digest) -> bool {
    let found = db
        .read(move |tx| store::images::index_naming(tx, repository, &digest))
        .await;
    found.expect("read").is_some()
}

#[tokio::test]
async fn pages_give_each_image_once_with_its_tags_whatever_ages_they_share() {
    // Seconds after those before, and how many images were pushed then.
    const PUSHED: [(u64, usize); 5] = [(0, 7), (1, 1), (1, 1), (2, 12), (6, 2)];
    for db in testing::every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let mut expected = Vec::new();
        for (place, (seconds, count)) in PUSHED.into_iter().enumerate() {
            world.clock.advance(Duration::from_secs(seconds));
            for number in 0..count {
                let name = format!("t{place}-{number}");
                // Every third image has no tag.
                let tags: &[&str] = if number % 3 == 2 { &[] } else { &[&name] };
                let digest = world.image(&name, tags).await;
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                expected.push((digest, tags));
            }
        }
        expected.reverse();
        for page in [1, 2, 3, 5, 100] {
            let (mut seen, mut before) = (Vec::new(), store::lifecycle::Age::NEWEST);
            loop {
                let repository = world.repository.id;
                let read = world
                    .db
                    .read(move |tx| store::lifecycle::candidates(tx, repository, before, page));
                let rows = read.await.expect("a page");
                let Some(last) = rows.last() else { break };
                before = store::lifecycle::age(last);
                seen.extend(rows.iter().map(|row| {
                    let tags = row.candidate.tags.iter().map(ToString::to_string);
                    (row.digest, tags.collect::<Vec<_>>())
                }));
            }
            assert_eq!(seen, expected, "pages of {page}");
        }
    }
}
