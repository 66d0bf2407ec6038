//! Replications to a registry of another server, which is one in memory that fails on request.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http_body::Body as _;
use wharfinger_oci::RepositoryName;

use super::*;
use crate::replication::remote::{BlobSource, RemoteError, RemoteManifest, RemoteRegistry};

#[derive(Default)]
struct State {
    blobs: HashMap<Digest, usize>,
    manifests: HashSet<Digest>,
    tags: HashMap<String, Digest>,
    /// Uploads, of which each blob needs one.
    uploads: usize,
    /// Errors of the next requests, the last one first.
    failures: Vec<RemoteError>,
    immutable: bool,
    /// It is for other accounts.
    is_closed: bool,
}

#[derive(Default)]
struct Remote(Mutex<State>);

impl Remote {
    /// The state, or the error that is due.
    fn state(&self) -> Result<std::sync::MutexGuard<'_, State>, RemoteError> {
        let mut state = self.0.lock().expect("the state");
        match state.failures.pop() {
            Some(failure) => Err(failure),
            None => Ok(state),
        }
    }

    fn fail(&self, failure: RemoteError) {
        self.0.lock().expect("the state").failures.push(failure);
    }

    fn tag(&self, text: &str) -> Option<Digest> {
        self.0.lock().expect("the state").tags.get(text).copied()
    }
}

#[async_trait]
impl RemoteRegistry for Remote {
    fn accepts(&self, source: &RegistryId) -> bool {
        let is_closed = self.0.lock().expect("the state").is_closed;
        source.account.as_str() == ACCOUNT && !is_closed
    }

    async fn has_blob(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RemoteError> {
        Ok(self.state()?.blobs.contains_key(digest))
    }

    async fn put_blob(
        &self,
        _repository: &RepositoryName,
        blob: &BlobSource,
    ) -> Result<(), RemoteError> {
        let rest = blob.open(blob.size() / 2).await?;
        let rest = rest.size_hint().exact().expect("a size");
        assert_eq!(rest, blob.size() - blob.size() / 2);
        let mut state = self.state()?;
        state.uploads += 1;
        let size = usize::try_from(blob.size()).expect("a size");
        state.blobs.insert(*blob.digest(), size);
        Ok(())
    }

    async fn manifest_digest(
        &self,
        _repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, RemoteError> {
        let state = self.state()?;
        Ok(match reference {
            Reference::Digest(digest) => state.manifests.get(digest).copied(),
            Reference::Tag(tag) => state.tags.get(tag.as_str()).copied(),
        })
    }

    async fn put_manifest(
        &self,
        _repository: &RepositoryName,
        reference: &Reference,
        manifest: &RemoteManifest,
    ) -> Result<(), RemoteError> {
        let mut state = self.state()?;
        let parsed = Manifest::parse(&manifest.bytes, Some(manifest.media_type.as_str()));
        for child in parsed.expect("a manifest").children {
            let known = state.blobs.contains_key(&child.digest);
            if !known && !state.manifests.contains(&child.digest) {
                return Err(RemoteError::MissingContent(child.digest.to_string()));
            }
        }
        if let Reference::Tag(tag) = reference {
            let named = state.tags.get(tag.as_str());
            if state.immutable && named.is_some_and(|named| *named != manifest.digest) {
                return Err(RemoteError::TagImmutable);
            }
            state.tags.insert(tag.to_string(), manifest.digest);
        }
        state.manifests.insert(manifest.digest);
        Ok(())
    }

    async fn delete_manifest(
        &self,
        _repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RemoteError> {
        let mut state = self.state()?;
        state.manifests.remove(digest);
        state.tags.retain(|_, named| named != digest);
        Ok(())
    }

    async fn delete_tag(&self, _repository: &RepositoryName, tag: &Tag) -> Result<(), RemoteError> {
        self.state()?.tags.remove(tag.as_str());
        Ok(())
    }
}

async fn worlds() -> Vec<(World, Arc<Remote>)> {
    let mut worlds = Vec::new();
    for db in testing::every_engine(MIGRATIONS) {
        let remote = Arc::new(Remote::default());
        let known: Arc<dyn RemoteRegistry> = remote.clone();
        let remotes = RemoteDestinations::new(HashMap::from([(away(), known)]));
        let server = TestServer::over(db, true, Config::default()).await;
        let world = World::of(server, remotes).await;
        world
            .configure(&home(), &rules(&[away()], Some(true)))
            .await;
        worlds.push((world, remote));
    }
    worlds
}

impl World {
    /// Sends until nothing is due.
    async fn send(&mut self) {
        let due = "SELECT COUNT(*) FROM image_replications WHERE due_at IS NOT NULL";
        for _ in 0..200 {
            self.replicate().await;
            while self.replication.is_sending() {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if self.count(due).await == 0 {
                return;
            }
            self.server.clock.advance(Duration::from_mins(10));
        }
        panic!("the replication does not come to an end");
    }
}

#[tokio::test]
async fn what_is_missing_is_sent_content_first_and_only_once() {
    for (mut world, remote) in worlds().await {
        let member = world.image(&[b"config", b"layer"], &["one"]).await;
        let outer = world.put(push(index(&[member]), &["v1"])).await;
        world.send().await;
        assert_eq!(remote.tag("one"), Some(member));
        assert_eq!(remote.tag("v1"), Some(outer));
        assert_eq!(world.statuses(outer).await, [COMPLETE]);
        assert!(world.at(&away()).await.is_none(), "nothing is kept here");

        // Every request fails once.
        for _ in 0..12 {
            remote.fail(RemoteError::Unavailable {
                reason: "away".to_owned(),
                retry_after: Some(Duration::from_secs(30)),
            });
        }
        let other = world.image(&[b"config", b"more"], &["two"]).await;
        world.send().await;
        assert_eq!(remote.tag("two"), Some(other));
        let state = remote.state().expect("the state");
        assert_eq!(state.uploads, 3, "what is there is not sent again");
    }
}

#[tokio::test]
async fn tags_that_must_not_move_and_refusals_are_told() {
    for (mut world, remote) in worlds().await {
        let first = world.image(&[b"a"], &["v1"]).await;
        world.send().await;
        remote.state().expect("the state").immutable = true;
        let second = world.image(&[b"b"], &["v1"]).await;
        world.send().await;
        let code = ReplicationFailure::ImageTagAlreadyExists;
        assert_eq!(world.statuses(second).await, [failed(code)]);
        assert_eq!(remote.tag("v1"), Some(first));
        assert!(
            remote
                .state()
                .expect("the state")
                .manifests
                .contains(&second)
        );

        remote.fail(RemoteError::Denied("no".to_owned()));
        let third = world.image(&[b"c"], &["v3"]).await;
        world.send().await;
        let code = ReplicationFailure::AccessDenied;
        assert_eq!(world.statuses(third).await, [failed(code)]);
        // A server that is gone for days.
        let fourth = world.image(&[b"d"], &["v4"]).await;
        for _ in 0..40 {
            remote.fail(RemoteError::Unavailable {
                reason: "away".to_owned(),
                retry_after: None,
            });
        }
        world.send().await;
        let code = ReplicationFailure::DestinationUnavailable;
        assert_eq!(world.statuses(fourth).await, [failed(code)]);
    }
}

#[tokio::test]
async fn accounts_that_a_destination_is_not_for_change_nothing_there() {
    for (mut world, remote) in worlds().await {
        let image = world.image(&[b"a"], &["v1", "v2"]).await;
        world.send().await;
        remote.0.lock().expect("the state").is_closed = true;
        let other = world.image(&[b"b"], &["v3"]).await;
        world.send().await;
        let code = ReplicationFailure::AccessDenied;
        assert_eq!(world.statuses(other).await, [failed(code)]);
        let images = world.registry().images.clone();
        let untagged = images.delete_tag(world.source.id, &tag("v1")).await;
        untagged.expect("deleted");
        world.delete(image).await;
        world.send().await;
        assert_eq!(remote.tag("v1"), Some(image));
        assert_eq!(remote.tag("v2"), Some(image));
        let state = remote.state().expect("the state");
        assert_eq!(state.uploads, 1, "nothing of the other image was sent");
        assert_eq!(state.manifests.len(), 1);
    }
}

#[tokio::test]
async fn removals_are_sent_unless_the_image_or_tag_is_back() {
    for (mut world, remote) in worlds().await {
        let image = world.image(&[b"a"], &["v1", "v2"]).await;
        world.send().await;
        let images = world.registry().images.clone();
        let source = world.source.id;
        images
            .delete_tag(source, &tag("v1"))
            .await
            .expect("deleted");
        images
            .delete_tag(source, &tag("v2"))
            .await
            .expect("deleted");
        world.put(push(manifest(&[b"a"]), &["v2"])).await;
        world.send().await;
        assert_eq!((remote.tag("v1"), remote.tag("v2")), (None, Some(image)));
        world.delete(image).await;
        world.image(&[b"a"], &["v2"]).await;
        world.send().await;
        assert_eq!(remote.tag("v2"), Some(image));
        world.delete(image).await;
        world.send().await;
        assert!(
            !remote
                .state()
                .expect("the state")
                .manifests
                .contains(&image)
        );
        assert_eq!(world.count(ROWS).await, 0);
    }
}
