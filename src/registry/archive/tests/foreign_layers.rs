//! Images that name archived content of other repositories, which their own does not have.

use super::*;

#[tokio::test]
async fn a_restore_brings_nothing_that_the_repository_does_not_have() {
    for mut world in worlds(true).await {
        let (own, other) = (
            world.repository("own").await,
            world.repository("other").await,
        );
        let secret = text(1);
        let archived = world.push(&other, &[&secret]).await;
        world.set(&other, archived, StorageClass::Archive).await;
        world.settle().await;
        assert!(world.archived(&secret).await.is_some());

        // Layers that lie elsewhere need not be pushed.
        let config = noise(2);
        world.upload(&own, &config).await;
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{
            "mediaType":"application/vnd.docker.container.image.v1+json",
            "digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest":"{}","size":{},"urls":["https://example.org/layer"]}}]}}"#,
            digest(&config),
            config.len(),
            digest(&secret),
            secret.len()
        );
        let naming = world.put_manifest(&own, Bytes::from(manifest)).await;
        let naming = naming.expect("pushed");
        assert_eq!(world.status(&own, naming).await, ImageStatus::Active);
        world.set(&own, naming, StorageClass::Archive).await;
        world.settle().await;
        world.set(&own, naming, StorageClass::Standard).await;
        world.settle().await;
        assert_eq!(world.status(&own, naming).await, ImageStatus::Active);
        assert!(world.content(&own, &secret).await.is_none());
        assert!(world.archived(&secret).await.is_some());

        world.set(&other, archived, StorageClass::Standard).await;
        world.settle().await;
        assert!(world.content(&own, &secret).await.is_none());
        assert!(world.content(&other, &secret).await == Some(secret));
    }
}
