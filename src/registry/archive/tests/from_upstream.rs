//! Images of the pull-through cache in the archive.

use super::{digest, text, worlds};
use crate::lifecycle::StorageClass;
use crate::model::ImageStatus;
use crate::pull_through::{Prefix, PullThroughRule, UpstreamKind};

/// A pull brings what an image of the pull-through cache lacks.
#[tokio::test]
async fn an_image_of_the_cache_is_restored_without_what_was_not_imported() {
    for world in worlds(true).await {
        let web = world.repository("hub/web").await;
        let (kept, lacking) = (text(1), text(2));
        let image = world.push(&web, &[&kept, &lacking]).await;
        world.set(&web, image, StorageClass::Archive).await;
        let (id, digest) = (web.id, digest(&lacking));
        let unlinked = world
            .server
            .db
            .write(move |tx| crate::store::blobs::unlink(tx, id, &digest));
        unlinked.await.expect("unlinked");
        let rule = PullThroughRule {
            registry: web.registry.clone(),
            prefix: Prefix::new("hub"),
            upstream_url: "registry.example".to_owned(),
            upstream_kind: UpstreamKind::Quay,
            upstream_prefix: Prefix::new("ROOT"),
            credential: None,
            custom_role: None,
            created_at: world.server.clock.now(),
            updated_at: world.server.clock.now(),
        };
        let made = world
            .server
            .db
            .write(move |tx| crate::store::pull_through::insert_rule(tx, &rule));
        made.await.expect("made");
        let set = world.set(&web, image, StorageClass::Standard).await;
        assert_eq!(set, ImageStatus::Active);
    }
}
