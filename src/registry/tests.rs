//! Images: what is put is found and deleted as the specifications say, on an index in memory.

mod events;
mod failover;
mod imports;
mod listings;
mod migrations;
mod pull_cache;
mod registry_settings;
mod replicas;
mod repositories;
mod repository_cache;
mod signing;
pub(crate) mod simulations;
mod tag_quota;

use bytes::Bytes;
use wharfinger_base::Timestamp;
use wharfinger_oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepositoryName, Tag};

use super::*;

struct World {
    db: Db,
    clock: Clock,
    repositories: Repositories,
    images: Images,
    registry: RegistryId,
    repository: Repository,
}

impl World {
    async fn new(lenient: bool) -> Self {
        Self::on(Db::memory(MIGRATIONS).expect("an index in memory"), lenient).await
    }

    async fn on(db: Db, lenient: bool) -> Self {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let repositories = Repositories::new(db.clone(), clock.clone());
        let registry = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let repository = repositories
            .create(&registry, &name("team/web"), RepositorySettings::default())
            .await
            .expect("created");
        Self {
            images: Images::new(db.clone(), clock.clone(), lenient),
            db,
            clock,
            repositories,
            registry,
            repository,
        }
    }

    /// Links content without uploading it.
    async fn link(&self, digest: Digest) {
        let (repository, now) = (self.repository.id, self.clock.now());
        let blob = Blob {
            digest,
            size: 1,
            key: format!("blobs/{}", digest.hex()).parse().expect("a key"),
        };
        let write = self.db.write(move |tx| {
            store::blobs::put(tx, &blob, now, now)?;
            store::blobs::link(tx, repository, &digest, now, now)
        });
        write.await.expect("linked");
    }

    async fn put(&self, body: &str, tags: &[&str]) -> Result<Digest, Error> {
        self.images.put(&self.repository, push(body, tags)).await
    }

    async fn all_tags(&self, limit: usize) -> Vec<String> {
        let (mut tags, mut after) = (Vec::new(), String::new());
        loop {
            let page = self
                .images
                .tags_page(self.repository.id, &after, limit)
                .await
                .expect("a page");
            assert!(page.items.len() <= limit);
            tags.extend(page.items);
            match page.next {
                Some(next) => after = next,
                None => return tags,
            }
        }
    }

    async fn all_listings(&self, status: TagStatus, limit: usize) -> Vec<ImageListing> {
        let (mut listings, mut after) = (Vec::new(), ImagePosition::default());
        loop {
            let page = self
                .images
                .list(self.repository.id, active(status), after, limit)
                .await
                .expect("a page");
            assert!(page.items.len() <= limit);
            listings.extend(page.items);
            match page.next {
                Some(next) => after = next,
                None => return listings,
            }
        }
    }

    async fn all_described(&self, status: TagStatus, limit: usize) -> Vec<TaggedImage> {
        let (mut images, mut after) = (Vec::new(), ImagePosition::default());
        loop {
            let page = self
                .images
                .describe(self.repository.id, active(status), after, limit)
                .await
                .expect("a page");
            assert!(page.items.len() <= limit);
            images.extend(page.items);
            match page.next {
                Some(next) => after = next,
                None => return images,
            }
        }
    }
}

fn active(tags: TagStatus) -> ImageFilter {
    ImageFilter {
        tags,
        status: Some(ImageStatus::Active),
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().expect("a name")
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn layer(seed: &str) -> Digest {
    Digest::of(Algorithm::Sha256, seed.as_bytes())
}

/// An image whose only content is the config `seed`; `extra` is more JSON members.
fn image(seed: &str, extra: &str) -> String {
    let digest = layer(seed);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/x.{seed}",
            "digest":"{digest}","size":1}},"layers":[]{extra}}}"#,
        MediaType::OCI_IMAGE
    )
}

fn index(members: &[Digest]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|digest| {
            format!(
                r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#,
                MediaType::OCI_IMAGE
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        members.join(",")
    )
}

fn push(body: &str, tags: &[&str]) -> Push {
    Push {
        manifest: Manifest::parse(body.as_bytes(), None).expect("a manifest"),
        bytes: Bytes::copy_from_slice(body.as_bytes()),
        digest: Digest::of(Algorithm::Sha256, body.as_bytes()),
        tags: tags.iter().map(|text| tag(text)).collect(),
        refuse_existing: false,
    }
}

#[tokio::test]
async fn what_is_put_comes_back_byte_for_byte() {
    let world = World::new(false).await;
    world.link(layer("a")).await;
    let body = image("a", r#","annotations":{"k":"v"}"#);
    let digest = world.put(&body, &["v1", "latest"]).await.expect("put");
    for reference in [
        Reference::Digest(digest),
        Reference::Tag(tag("v1")),
        Reference::Tag(tag("latest")),
    ] {
        let stored = world
            .images
            .get(world.repository.id, &reference)
            .await
            .expect("found");
        assert_eq!(
            (stored.bytes.as_ref(), stored.image.digest),
            (body.as_bytes(), digest)
        );
        assert_eq!(
            world
                .images
                .head(world.repository.id, &reference)
                .await
                .expect("found"),
            stored.image
        );
    }
    let missing = world
        .images
        .get(world.repository.id, &Reference::Tag(tag("v2")))
        .await;
    assert!(matches!(missing, Err(Error::NoSuchImage(_))));
}

/// Reads come from a cache of manifests, which must follow the rows that name them.
#[tokio::test]
async fn a_manifest_that_was_read_before_is_found_by_what_names_it_now() {
    let world = World::new(true).await;
    let (first, second) = (image("a", ""), image("b", ""));
    let by_tag = Reference::Tag(tag("v1"));
    let read = async |reference: &Reference| {
        let read = world.images.get(world.repository.id, reference).await;
        read.map(|stored| stored.bytes.clone())
    };
    let old = world.put(&first, &["v1"]).await.expect("put");
    for _ in 0..2 {
        assert_eq!(read(&by_tag).await.expect("found"), first);
    }
    world.put(&second, &["v1"]).await.expect("put");
    assert_eq!(read(&by_tag).await.expect("found"), second);
    let by_digest = Reference::Digest(old);
    assert_eq!(read(&by_digest).await.expect("found"), first);
    let images = &world.images;
    images
        .delete_manifest(world.repository.id, &old)
        .await
        .expect("deleted");
    assert!(matches!(read(&by_digest).await, Err(Error::NoSuchImage(_))));
    world.put(&first, &["v1"]).await.expect("put again");
    assert_eq!(read(&by_tag).await.expect("found"), first);
    let (registry, web) = (&world.registry, name("team/web"));
    let deleted = world.repositories.delete(&world.repository, true).await;
    let again = world
        .repositories
        .create(registry, &web, RepositorySettings::default())
        .await
        .expect("made again");
    assert_eq!(deleted.expect("deleted").name, again.name);
    let gone = world.images.get(again.id, &by_tag).await;
    assert!(matches!(gone, Err(Error::NoSuchImage(_))));
}

#[tokio::test]
async fn content_must_be_there_unless_the_registry_says_otherwise() {
    let world = World::new(false).await;
    let put = world.put(&image("a", ""), &[]).await;
    assert!(matches!(put, Err(Error::MissingBlobs(missing)) if missing == [layer("a")]));
    let put = world.put(&index(&[layer("m")]), &[]).await;
    assert!(matches!(put, Err(Error::MissingMembers(missing)) if missing == [layer("m")]));
    assert!(world.all_tags(10).await.is_empty());
    // A blob may be a member of an index: build caches are made so.
    world.link(layer("m")).await;
    assert!(world.put(&index(&[layer("m")]), &["cache"]).await.is_ok());
    let lenient = World::new(true).await;
    assert!(lenient.put(&image("a", ""), &[]).await.is_ok());
}

#[tokio::test]
async fn an_immutable_tag_does_not_move_and_a_failed_push_changes_nothing() {
    let world = World::new(true).await;
    let first = world.put(&image("a", ""), &["v1"]).await.expect("put");
    let immutable = TagMutability {
        mode: MutabilityMode::Immutable,
        exclusions: Vec::new(),
    };
    world
        .repositories
        .set_mutability(&world.repository, immutable)
        .await
        .expect("set");
    let refused = world.put(&image("b", ""), &["v2", "v1"]).await;
    assert!(matches!(refused, Err(Error::TagImmutable { tag, .. }) if tag.as_str() == "v1"));
    assert_eq!(world.all_tags(10).await, ["v1"]);
    assert_eq!(
        world
            .put(&image("a", ""), &["v1"])
            .await
            .expect("the same again"),
        first
    );
    let as_ecr = Push {
        refuse_existing: true,
        ..push(&image("a", ""), &["v1"])
    };
    assert!(matches!(
        world.images.put(&world.repository, as_ecr).await,
        Err(Error::ImageExists { .. })
    ));
}

#[tokio::test]
async fn deleting_a_tag_and_deleting_a_manifest_differ() {
    let world = World::new(true).await;
    let digest = world
        .put(&image("a", ""), &["v1", "v2"])
        .await
        .expect("put");
    world
        .images
        .delete_tag(world.repository.id, &tag("v1"))
        .await
        .expect("deleted");
    assert!(matches!(
        world
            .images
            .delete_tag(world.repository.id, &tag("v1"))
            .await,
        Err(Error::NoSuchImage(_))
    ));
    assert_eq!(world.all_tags(10).await, ["v2"]);
    world
        .images
        .delete_tag(world.repository.id, &tag("v2"))
        .await
        .expect("deleted");
    assert!(
        world
            .images
            .head(world.repository.id, &Reference::Digest(digest))
            .await
            .is_ok()
    );
    assert_eq!(
        world.all_listings(TagStatus::Untagged, 10).await,
        [ImageListing { digest, tag: None }]
    );
    world
        .put(&image("a", ""), &["v3"])
        .await
        .expect("put again");
    assert!(world.all_listings(TagStatus::Untagged, 10).await.is_empty());
    world
        .images
        .delete_manifest(world.repository.id, &digest)
        .await
        .expect("deleted");
    assert!(world.all_tags(10).await.is_empty());
    assert!(matches!(
        world
            .images
            .delete_manifest(world.repository.id, &digest)
            .await,
        Err(Error::NoSuchImage(_))
    ));
}

#[tokio::test]
async fn ecr_deletes_an_image_with_its_last_tag_and_protects_members_of_an_index() {
    let world = World::new(true).await;
    let member = world
        .put(&image("a", ""), &["v1", "v2"])
        .await
        .expect("put");
    let list = world.put(&index(&[member]), &["multi"]).await.expect("put");
    let by_tag = |text: &str| Reference::Tag(tag(text));
    let id = world.repository.id;
    assert_eq!(
        world
            .images
            .delete_as_ecr(id, &by_tag("v1"))
            .await
            .expect("one tag"),
        [(member, Some(tag("v1")))]
    );
    let deleted = world.images.delete_as_ecr(id, &by_tag("v2")).await;
    assert!(matches!(deleted, Err(Error::ReferencedByIndex { by }) if by == list));
    assert_eq!(
        world
            .images
            .delete_as_ecr(id, &Reference::Digest(list))
            .await
            .expect("the list"),
        [(list, Some(tag("multi")))]
    );
    assert_eq!(
        world
            .images
            .delete_as_ecr(id, &by_tag("v2"))
            .await
            .expect("the last tag"),
        [(member, Some(tag("v2")))]
    );
    assert!(matches!(
        world.images.head(id, &Reference::Digest(member)).await,
        Err(Error::NoSuchImage(_))
    ));
    assert!(
        world
            .repositories
            .delete(&world.repository, false)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_index_is_as_large_as_its_largest_member() {
    let world = World::new(true).await;
    let small = world.put(&image("a", ""), &[]).await.expect("put");
    let large = world
        .put(&image("b", "").replace(r#""size":1"#, r#""size":900"#), &[])
        .await
        .expect("put");
    let list = world.put(&index(&[small, large]), &[]).await.expect("put");
    assert_eq!(
        world
            .images
            .head(world.repository.id, &Reference::Digest(list))
            .await
            .expect("found")
            .content_size,
        900
    );
}

#[tokio::test]
async fn a_pull_is_recorded_and_not_again_within_a_day() {
    let world = World::new(true).await;
    let digest = world.put(&image("a", ""), &[]).await.expect("put");
    let reference = Reference::Digest(digest);
    let head = || async {
        world
            .images
            .head(world.repository.id, &reference)
            .await
            .expect("found")
    };
    let first = world.clock.now();
    let puller = || Puller {
        registry: world.registry.clone(),
        principal: "arn:aws:iam::123456789012:user/ann"
            .parse()
            .expect("an ARN"),
    };
    world.images.note_pull(&head().await, puller);
    while head().await.pulled_at.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (later, recorded) in [
        (Duration::from_hours(1), first),
        (
            Duration::from_hours(24),
            first.plus(Duration::from_hours(25)),
        ),
    ] {
        world.clock.advance(later);
        world.images.note_pull(&head().await, puller);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(head().await.pulled_at, Some(recorded));
    }
}
