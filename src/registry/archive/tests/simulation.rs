//! Pushes, deletions, moves and collections in random orders: no active image ever lacks a byte,
//! and in the end the stores hold what living images need. Every other history has an archive that
//! takes all, and every other two have folders.

use std::collections::{BTreeMap, BTreeSet};

use wharfinger_oci::{Digest, Reference};

use super::{LEASE, MINUTE, World, digest, noise, text, worlds_of};
use crate::error::Error;
use crate::lifecycle::StorageClass;
use crate::model::{ImageStatus, Repository};
use crate::tests::simulations::{self, Dice};

/// Seeds of an ordinary run, and steps of each.
const SEEDS: u64 = 12;
const STEPS: usize = 60;

/// The images that live, by repository and digest, with their layers.
type Living = BTreeMap<(usize, Digest), Vec<usize>>;

struct Simulation {
    world: World,
    dice: Dice,
    repositories: Vec<Repository>,
    layers: Vec<Vec<u8>>,
    living: Living,
}

impl Simulation {
    async fn new(world: World, seed: u64) -> Self {
        let repositories = vec![world.repository("one").await, world.repository("two").await];
        Self {
            world,
            dice: Dice::new(seed),
            repositories,
            layers: (1..5)
                .flat_map(|number| [text(number), noise(number)])
                .chain([b"small".to_vec()])
                .collect(),
            living: Living::new(),
        }
    }

    fn some_image(&mut self) -> Option<(usize, Digest)> {
        if self.living.is_empty() {
            return None;
        }
        let index = self.dice.below(self.living.len());
        self.living.keys().nth(index).copied()
    }

    /// As clients push: what a HEAD finds is not uploaded.
    async fn push(&mut self) {
        let place = self.dice.below(2);
        let chosen: BTreeSet<usize> = (0..3).map(|_| self.dice.below(self.layers.len())).collect();
        let repository = &self.repositories[place];
        let content = &self.world.registry.content;
        for layer in chosen.iter().map(|layer| &self.layers[*layer]) {
            match content.get_and_keep(repository.id, &digest(layer)).await {
                Ok(_) => {}
                Err(Error::NoSuchBlob(_)) => self.world.upload(repository, layer).await,
                Err(error) => panic!("{error}"),
            }
        }
        let layers: Vec<&[u8]> = chosen
            .iter()
            .map(|one| self.layers[*one].as_slice())
            .collect();
        let image = self.world.put(repository, &layers).await.expect("pushed");
        assert_eq!(
            self.world.status(repository, image).await,
            ImageStatus::Active
        );
        self.living
            .insert((place, image), chosen.into_iter().collect());
    }

    async fn set(&mut self, class: StorageClass) {
        if let Some((place, image)) = self.some_image() {
            self.world
                .set(&self.repositories[place], image, class)
                .await;
        }
    }

    async fn delete(&mut self) {
        let Some((place, image)) = self.some_image() else {
            return;
        };
        let images = &self.world.registry.images;
        let deleted = images
            .delete_manifest(self.repositories[place].id, &image)
            .await;
        deleted.expect("deleted");
        self.living.remove(&(place, image));
    }

    async fn step(&mut self) {
        match self.dice.below(16) {
            0 | 1 => self.push().await,
            2..=5 => self.set(StorageClass::Archive).await,
            6 => self.set(StorageClass::Standard).await,
            7 => self.delete().await,
            8..=11 => {
                self.world.mover.step().await.expect("a step");
            }
            12 => {
                let collector = &self.world.registry.collector;
                collector.collect(100, |_| {}).await.expect("collected");
            }
            _ => {
                let time = self.dice.one_of(&[MINUTE, LEASE / 2, LEASE + MINUTE]);
                self.world.server.clock.advance(time);
            }
        }
    }

    /// Every byte of every active image is there.
    async fn check(&self) {
        assert_eq!(self.world.findings().await, []);
        for ((place, image), layers) in &self.living {
            let repository = &self.repositories[*place];
            let got = self
                .world
                .registry
                .images
                .get(repository.id, &Reference::Digest(*image))
                .await;
            if matches!(got, Err(Error::ImageArchived(_))) {
                continue;
            }
            got.expect("a manifest");
            for layer in layers {
                let layer = &self.layers[*layer];
                assert_eq!(
                    self.world.content(repository, layer).await.as_ref(),
                    Some(layer)
                );
            }
        }
    }

    /// Restores everything, and compares what is stored with what is needed.
    async fn end(&mut self) {
        for (place, image) in self.living.clone().into_keys() {
            let repository = &self.repositories[place];
            self.world
                .set(repository, image, StorageClass::Standard)
                .await;
        }
        self.world.settle().await;
        self.check().await;
        assert_eq!(World::objects(&self.world.archive).await, 0);
        let needed: BTreeSet<usize> = self.living.values().flatten().copied().collect();
        assert_eq!(World::objects(&self.world.server.blobs).await, needed.len());
    }
}

/// How many blobs went to the archive.
async fn history(seed: u64) -> u64 {
    let mut archived = 0;
    for world in worlds_of(seed % 4 < 2, seed.is_multiple_of(2)).await {
        let mut simulation = Simulation::new(world, seed).await;
        for _ in 0..STEPS {
            simulation.step().await;
            simulation.check().await;
        }
        simulation.end().await;
        archived += simulation.world.registry.archive_progress.stored();
    }
    archived
}

#[test]
fn no_active_image_ever_lacks_a_byte() {
    simulations::run(SEEDS, 1, history);
}
