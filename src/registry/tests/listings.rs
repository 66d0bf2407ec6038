//! Pages of tags, images and referrers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn referrers_are_listed_filtered_and_paged_with_those_of_the_fallback_tag() {
    let world = World::new(true).await;
    let (id, subject) = (world.repository.id, layer("subject"));
    let refers = |seed: &str, kind: &str| {
        let subject = format!(
            r#","artifactType":"{kind}","subject":{{"mediaType":"{}","digest":"{subject}",
                "size":1}}"#,
            MediaType::OCI_IMAGE
        );
        image(
            seed,
            &format!(r#"{subject},"annotations":{{"seed":"{seed}"}}"#),
        )
    };
    let mut expected = BTreeSet::new();
    for seed in ["a", "b", "c"] {
        expected.insert(
            world
                .put(&refers(seed, "application/x.sbom"), &[])
                .await
                .expect("put"),
        );
    }
    let signature = world
        .put(&refers("d", "application/x.signature"), &[])
        .await
        .expect("put");
    let old = world.put(&image("old", ""), &[]).await.expect("put");
    world
        .put(
            &index(&[old, signature]),
            &[&Manifest::fallback_tag(&subject)],
        )
        .await
        .expect("put");

    let sboms = world
        .images
        .referrers(id, &subject, Some("application/x.sbom"), None, 10)
        .await
        .expect("a page");
    assert_eq!(
        sboms
            .items
            .iter()
            .map(|referrer| referrer.digest)
            .collect::<BTreeSet<_>>(),
        expected
    );
    assert!(
        sboms
            .items
            .iter()
            .all(|referrer| referrer.annotations.contains_key("seed"))
    );
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world
            .images
            .referrers(id, &subject, None, after, 2)
            .await
            .expect("a page");
        seen.extend(page.items.iter().map(|referrer| referrer.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    expected.extend([signature, old]);
    assert_eq!(seen.len(), expected.len(), "each once");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(
        world
            .images
            .referrers(id, &layer("nobody"), None, None, 2)
            .await
            .expect("no error")
            .items
            .is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever was pushed and untagged in whatever order, pages of any size show each thing once
    /// and nothing else.
    #[test]
    fn pages_of_any_size_show_each_thing_once(
        steps in proptest::collection::vec((0_u8..6, 0_u8..9, any::<bool>()), 0..30),
        limit in 1_usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(check_pages(steps, limit));
    }
}

async fn check_pages(steps: Vec<(u8, u8, bool)>, limit: usize) {
    let world = World::new(true).await;
    let mut tags = std::collections::BTreeMap::new();
    let mut images = BTreeSet::new();
    for (seed, label, delete) in steps {
        let label = format!("t{label}");
        if delete {
            let known = tags.remove(&label).is_some();
            assert_eq!(
                world
                    .images
                    .delete_tag(world.repository.id, &tag(&label))
                    .await
                    .is_ok(),
                known
            );
        } else {
            let digest = world
                .put(&image(&format!("s{seed}"), ""), &[&label])
                .await
                .expect("put");
            images.insert(digest);
            tags.insert(label, digest);
        }
    }
    assert_eq!(
        world.all_tags(limit).await,
        tags.keys().cloned().collect::<Vec<_>>()
    );
    let untagged: BTreeSet<_> = images
        .iter()
        .filter(|digest| !tags.values().any(|on| on == *digest))
        .copied()
        .collect();
    let pairs: BTreeSet<_> = tags
        .iter()
        .map(|(text, digest)| (*digest, Some(text.clone())))
        .collect();
    let bare: BTreeSet<_> = untagged.iter().map(|digest| (*digest, None)).collect();
    for (status, expected) in [
        (TagStatus::Tagged, pairs.clone()),
        (TagStatus::Untagged, bare.clone()),
        (TagStatus::Any, pairs.union(&bare).cloned().collect()),
    ] {
        let seen: Vec<_> = world
            .all_listings(status, limit)
            .await
            .into_iter()
            .map(|l| (l.digest, l.tag.map(|tag| tag.to_string())))
            .collect();
        assert_eq!(seen.len(), expected.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    let tagged: BTreeSet<_> = tags.values().copied().collect();
    for (status, expected) in [
        (TagStatus::Tagged, tagged),
        (TagStatus::Untagged, untagged),
        (TagStatus::Any, images),
    ] {
        let seen: Vec<_> = world
            .all_described(status, limit)
            .await
            .into_iter()
            .map(|described| described.image.digest)
            .collect();
        assert_eq!(seen.len(), expected.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
