//! What is recorded to be signed, and how it ends, on every engine.

use wharfinger_db::testing;

use super::*;
use crate::push_effects::PushEffects;
use crate::signing::model::{SignatureState, SigningFailure, WaitingSignature};
use crate::signing::queue::SigningQueue;
use crate::store::signing as store;

const PROFILE: &str = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/one";

/// Every world in which signatures are recorded, with the settings that decide about them.
async fn worlds() -> Vec<(World, RegistrySettings)> {
    let mut worlds = Vec::new();
    for db in testing::every_engine(MIGRATIONS) {
        let mut world = World::on(db, true).await;
        let signing = SigningQueue::default();
        let (db, clock) = (world.db.clone(), world.clock.clone());
        let settings = RegistrySettings::new(db, clock, signing.clone());
        world.images = world.images.with_effects(PushEffects {
            signing,
            ..PushEffects::default()
        });
        worlds.push((world, settings));
    }
    worlds
}

fn rules() -> SigningConfiguration {
    let rule = SigningRule {
        profile: PROFILE.to_owned(),
        filters: vec!["team/*".to_owned()],
    };
    SigningConfiguration { rules: vec![rule] }
}

impl World {
    async fn due(&self) -> Vec<WaitingSignature> {
        let now = self.clock.now();
        let due = self.db.read(move |tx| store::due(tx, now, 10));
        due.await.expect("reads")
    }

    async fn claim(&self, seen: &WaitingSignature) -> Option<WaitingSignature> {
        let until = self.clock.now().plus(Duration::from_mins(1));
        let seen = seen.clone();
        let claimed = self.db.write(move |tx| store::claim(tx, &seen, until));
        claimed.await.expect("writes")
    }

    async fn finish(&self, claimed: &WaitingSignature, failure: Option<SigningFailure>) {
        let claimed = claimed.clone();
        let finished = self
            .db
            .write(move |tx| store::finish(tx, &claimed, failure.as_ref()));
        finished.await.expect("writes");
    }

    async fn states(&self, digest: Digest) -> Vec<SignatureState> {
        let signatures = Signatures(self.db.clone());
        let found = signatures.of_image(self.repository.id, &digest).await;
        let found = found.expect("reads");
        found.into_iter().map(|signature| signature.state).collect()
    }
}

#[tokio::test]
async fn a_push_is_recorded_once_rules_match_and_what_refers_to_an_image_is_not() {
    for (world, settings) in worlds().await {
        world.put(&image("a", ""), &["before"]).await.expect("put");
        assert!(world.due().await.is_empty());
        let registry = &world.registry;
        settings.put_signing(registry, &rules()).await.expect("put");
        let digest = world.put(&image("b", ""), &["v1"]).await.expect("put");
        let subject = format!(
            r#","subject":{{"mediaType":"{}","digest":"{digest}","size":1}}"#,
            MediaType::OCI_IMAGE
        );
        world.put(&image("c", &subject), &[]).await.expect("put");
        let due = world.due().await;
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].digest, due[0].profile.as_str()), (digest, PROFILE));
        assert_eq!(world.states(digest).await, [SignatureState::Waiting]);

        settings.delete_signing(registry).await.expect("deleted");
        world.put(&image("d", ""), &["v2"]).await.expect("put");
        assert_eq!(world.due().await.len(), 1);
    }
}

#[tokio::test]
async fn a_signature_is_claimed_by_one_and_again_once_the_claim_has_ended() {
    for (world, settings) in worlds().await {
        let registry = &world.registry;
        settings.put_signing(registry, &rules()).await.expect("put");
        let digest = world.put(&image("a", ""), &["v1"]).await.expect("put");
        let seen = world.due().await.remove(0);
        let first = world.claim(&seen).await.expect("claimed");
        assert!(world.claim(&seen).await.is_none(), "the other server");
        assert!(world.due().await.is_empty());
        let kept = {
            let first = first.clone();
            let keep = move |tx: &mut wharfinger_db::Tx<'_>| {
                store::keep_signature(tx, &first, b"signature")
            };
            world.db.write(keep)
        };
        kept.await.expect("kept");

        // The first server dies here.
        world.clock.advance(Duration::from_mins(2));
        let seen = world.due().await.remove(0);
        assert_eq!(seen.signature.as_deref(), Some(&b"signature"[..]));
        let second = world.claim(&seen).await.expect("claimed");
        let failure = SigningFailure::new("Late", "the claim had ended");
        world.finish(&first, Some(failure)).await;
        assert_eq!(world.states(digest).await, [SignatureState::Waiting]);
        world.finish(&second, None).await;
        assert_eq!(world.states(digest).await, [SignatureState::Complete]);

        // A push of what is signed records nothing; one of what was deleted meanwhile does.
        world.put(&image("a", ""), &["v2"]).await.expect("put");
        assert!(world.due().await.is_empty());
        let deleted = world.images.delete_manifest(world.repository.id, &digest);
        deleted.await.expect("deleted");
        world.put(&image("a", ""), &["v1"]).await.expect("put");
        let seen = world.due().await.remove(0);
        assert!(seen.signature.is_some(), "the same bytes are pushed again");
        let claimed = world.claim(&seen).await.expect("claimed");
        let failure = SigningFailure::new("Code", "the reason");
        world.finish(&claimed, Some(failure.clone())).await;
        let found = Signatures(world.db.clone())
            .of_image(world.repository.id, &digest)
            .await;
        assert_eq!(found.expect("reads")[0].failure, Some(failure));
        world.put(&image("a", ""), &["v3"]).await.expect("put");
        assert_eq!(world.due().await.len(), 1, "what failed is tried again");
    }
}
