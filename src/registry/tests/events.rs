//! Events: what pushes and deletions record, with the change that they tell of or not at all.

use serde_json::Value;

use super::*;
use crate::push_effects::PushEffects;

/// The same world, in which a sink takes events of `team/`.
async fn listening() -> World {
    let mut world = World::new(true).await;
    let sink = SinkFilter {
        name: "one".to_owned(),
        repository_prefixes: vec!["team/".to_owned()],
        ..SinkFilter::default()
    };
    let elsewhere = SinkFilter {
        name: "two".to_owned(),
        repository_prefixes: vec!["other/".to_owned()],
        ..SinkFilter::default()
    };
    let events = EventOutbox::new(vec![sink, elsewhere], Ids::default(), false);
    world.images = world.images.with_effects(PushEffects {
        events,
        ..PushEffects::default()
    });
    world
}

/// The recorded events as (sink, detail type, action, digest, tag), the oldest first.
async fn recorded(world: &World) -> Vec<String> {
    let read = world.db.read(|tx| {
        let sql = "SELECT sink, body FROM event_outbox ORDER BY id";
        tx.query(sql, &[], |row| {
            let body: Value = serde_json::from_str(row.text(1)).unwrap_or_default();
            let detail = &body["detail"];
            let member = |key: &str| detail[key].as_str().unwrap_or("-").to_owned();
            Ok(format!(
                "{} {} {} {} {}",
                row.text(0),
                body["detail-type"].as_str().unwrap_or("-"),
                member("action-type"),
                member("image-digest"),
                member("image-tag")
            ))
        })
    });
    read.await.expect("read")
}

#[tokio::test]
async fn each_tag_of_a_push_is_an_event() {
    let world = listening().await;
    let first = world.put(&image("a", ""), &["v1", "v2"]).await;
    let first = first.expect("put");
    let untagged = world.put(&image("b", ""), &[]).await.expect("put");
    // The same again changes nothing.
    world.put(&image("a", ""), &["v1"]).await.expect("put");
    let subject = format!(
        r#","subject":{{"mediaType":"{}","digest":"{first}","size":1}}"#,
        MediaType::OCI_IMAGE
    );
    let referrer = world.put(&image("c", &subject), &[]).await.expect("put");
    assert_eq!(
        recorded(&world).await,
        [
            format!("one ECR Image Action PUSH {first} v1"),
            format!("one ECR Image Action PUSH {first} v2"),
            format!("one ECR Image Action PUSH {untagged} -"),
            format!("one ECR Referrer Action PUSH {referrer} -"),
        ]
    );
}

#[tokio::test]
async fn deletions_name_the_tags_that_went() {
    let world = listening().await;
    let (images, id) = (world.images.clone(), world.repository.id);
    let first = world.put(&image("a", ""), &["v1", "v2", "v3"]).await;
    let first = first.expect("put");
    let second = world.put(&image("b", ""), &[]).await.expect("put");
    let pushes = recorded(&world).await.len();
    images.delete_tag(id, &tag("v2")).await.expect("deleted");
    let by_tag = Reference::Tag(tag("v1"));
    images.delete_as_ecr(id, &by_tag).await.expect("deleted");
    images.delete_manifest(id, &first).await.expect("deleted");
    let by_digest = Reference::Digest(second);
    images.delete_as_ecr(id, &by_digest).await.expect("deleted");
    images.delete_manifest(id, &first).await.expect_err("gone");
    assert_eq!(
        recorded(&world).await[pushes..],
        [
            format!("one ECR Image Action DELETE {first} v2"),
            format!("one ECR Image Action DELETE {first} v1"),
            format!("one ECR Image Action DELETE {first} v3"),
            format!("one ECR Image Action DELETE {second} -"),
        ]
    );
}

#[tokio::test]
async fn a_refused_push_records_nothing() {
    let world = listening().await;
    let mut push = push(&image("a", ""), &["v1", "v2"]);
    world
        .images
        .put(&world.repository, push.clone())
        .await
        .expect("put");
    let before = recorded(&world).await;
    push.refuse_existing = true;
    push.tags = vec![tag("v3"), tag("v1")];
    let refused = world.images.put(&world.repository, push).await;
    assert!(matches!(refused, Err(Error::ImageExists { .. })));
    assert_eq!(recorded(&world).await, before);
}

#[tokio::test]
async fn without_a_sink_nothing_is_recorded() {
    let world = World::new(true).await;
    let digest = world.put(&image("a", ""), &["v1"]).await.expect("put");
    let deleted = world.images.delete_manifest(world.repository.id, &digest);
    deleted.await.expect("deleted");
    assert!(recorded(&world).await.is_empty());
}
