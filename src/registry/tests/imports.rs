//! Images from upstream registries beside those that clients push.

use super::*;
use crate::pull_through::rule::{Prefix, PullThroughRule};
use crate::pull_through::upstream_kind::UpstreamKind;
use crate::push_effects::PushEffects;
use crate::registry_settings::RegistrySettings;
use crate::signing::queue::{Signatures, SigningQueue};
use crate::signing::rules::{SigningConfiguration, SigningRule};

fn rule(world: &World) -> PullThroughRule {
    PullThroughRule {
        registry: world.registry.clone(),
        prefix: Prefix::new("team"),
        upstream_url: "quay.io".to_owned(),
        upstream_kind: UpstreamKind::Quay,
        upstream_prefix: Prefix::root(),
        credential: None,
        custom_role: None,
        created_at: world.clock.now(),
        updated_at: world.clock.now(),
    }
}

fn body(number: usize) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
        "manifests":[],"annotations":{{"number":"{number}"}}}}"#
    )
}

async fn import(world: &World, number: usize, tags: &[&str]) -> Digest {
    let push = push(&body(number), tags);
    let (digest, rule) = (push.digest, rule(world));
    let put = world.images.put_imported(&world.repository, push, &rule);
    put.await.expect("imported");
    digest
}

async fn named(world: &World, name: &str) -> Digest {
    let reference = Reference::Tag(tag(name));
    let image = world.images.head(world.repository.id, &reference).await;
    image.expect("it exists").digest
}

#[tokio::test]
async fn an_import_moves_imported_tags_and_none_that_somebody_pushed() {
    let world = World::new(true).await;
    let first = import(&world, 1, &["v1", "v2"]).await;
    let second = import(&world, 2, &["v1"]).await;
    assert_eq!(named(&world, "v1").await, second, "it came from upstream");
    assert_eq!(named(&world, "v2").await, first);

    let pushed = world.put(&body(3), &["v1", "new"]).await.expect("pushed");
    let third = import(&world, 4, &["v1", "new", "v2"]).await;
    assert_eq!(named(&world, "v1").await, pushed);
    assert_eq!(named(&world, "new").await, pushed);
    assert_eq!(named(&world, "v2").await, third);
}

#[tokio::test]
async fn what_only_came_from_upstream_is_not_signed() {
    let mut world = World::new(true).await;
    let (queue, profile) = (SigningQueue::new(false), "arn:aws:signer:x");
    let effects = PushEffects {
        signing: queue.clone(),
        ..PushEffects::default()
    };
    world.images = Images::new(world.db.clone(), world.clock.clone(), true).with_effects(effects);
    let settings = RegistrySettings::new(world.db.clone(), world.clock.clone(), queue);
    let rules = vec![SigningRule {
        profile: profile.to_owned(),
        filters: Vec::new(),
    }];
    let configuration = SigningConfiguration { rules };
    let configured = settings.put_signing(&world.registry, &configuration);
    configured.await.expect("configured");
    let imported = import(&world, 1, &["v1"]).await;
    let pushed = world.put(&body(2), &["v2"]).await.expect("pushed");
    let signatures = Signatures(world.db.clone());
    for (digest, count) in [(imported, 0), (pushed, 1)] {
        let found = signatures.of_image(world.repository.id, &digest).await;
        assert_eq!(found.expect("read").len(), count, "{digest}");
    }
}

#[tokio::test]
async fn an_import_that_failed_is_an_event() {
    let mut world = World::new(true).await;
    let sink = SinkFilter {
        name: "one".to_owned(),
        ..SinkFilter::default()
    };
    world.images = world.images.clone().with_effects(PushEffects {
        events: EventOutbox::new(vec![sink], Ids::default(), false),
        ..PushEffects::default()
    });
    let (rule, name) = (rule(&world), "team/web".parse().expect("a name"));
    let reference = Reference::Tag(tag("v1"));
    let recorded = world.images.record_failed_import(&rule, &name, &reference);
    recorded.await.expect("recorded");
    let read = world.db.read(|tx| {
        let sql = "SELECT body FROM event_outbox";
        tx.query(sql, &[], |row| Ok(row.text(0).to_owned()))
    });
    let bodies = read.await.expect("read");
    assert_eq!(bodies.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&bodies[0]).expect("JSON");
    assert_eq!(body["detail-type"], "ECR Pull Through Cache Action");
    assert_eq!(body["detail"]["sync-status"], "FAILURE");
    assert_eq!(body["detail"]["image-tag"], "v1");
    assert_eq!(body["detail"]["repository-name"], "team/web");
    assert!(body["detail"]["image-digest"].is_null());
}
