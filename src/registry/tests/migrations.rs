//! An index of an older version, with content, in use after its migration.

use wharfinger_db::{DatabaseConfig, Migration, Upgrade, params, testing};

use super::*;

/// The migrations of a version that kept manifests with their images.
fn before_manifests() -> Vec<Migration> {
    let older = |migration: &&Migration| migration.name < "V0020";
    MIGRATIONS.iter().filter(older).copied().collect()
}

#[tokio::test]
async fn images_of_an_older_version_keep_their_manifests_and_references() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut configs = vec![DatabaseConfig::sqlite(folder.path().join("index.sqlite"))];
    configs.extend(testing::postgres_config());
    for config in configs {
        let old = Db::open(&config, &before_manifests(), Upgrade::Apply).expect("opens");
        let bytes = image("old", "");
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        let manifest = bytes.clone();
        let write = old.write(move |tx| {
            // No older version had the engines' table of restores.
            tx.execute("DROP TABLE restore", params![])?;
            let history = "DELETE FROM refinery_schema_history WHERE version = 34";
            tx.execute(history, params![])?;
            tx.execute(
                "INSERT INTO repositories (account, region, name, created_at, mutability,
                     mutability_filters, scan, encryption, tags)
                 VALUES ('123456789012', 'us-east-1', 'old', 1, 'MUTABLE', '', 'manual',
                     '{\"kind\":\"AES256\",\"kms_key\":null}', '')",
                params![],
            )?;
            tx.execute(
                "INSERT INTO images (repository_id, digest, media_type, artifact_type,
                     content_size, manifest_size, pushed_at, manifest)
                 SELECT id, ?1, ?2, '', 1, 1, 1, ?3 FROM repositories",
                params![
                    digest.to_stored(),
                    "application/vnd.oci.image.manifest.v1+json",
                    manifest.as_bytes()
                ],
            )?;
            tx.execute(
                "INSERT INTO image_references (repository_id, child, image_id, kind)
                 SELECT repository_id, ?1, id, 'layer' FROM images",
                params![digest.to_stored()],
            )
        });
        write.await.expect("written");
        drop(old);
        let db = Db::open(&config, MIGRATIONS, Upgrade::Apply).expect("migrates");
        let images = Images::new(db.clone(), Clock::System, true);
        let repositories = Repositories::new(db.clone(), Clock::System);
        let registry = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let old = repositories.get(&registry, &name("old")).await;
        let (repository, by_digest) = (old.expect("found").id, Reference::Digest(digest));
        let found = images.get(repository, &by_digest).await.expect("found");
        assert_eq!(found.bytes, bytes);
        images
            .delete_manifest(repository, &digest)
            .await
            .expect("deleted");
        let left = db.read(|tx| {
            tx.query_optional(
                "SELECT (SELECT COUNT(*) FROM manifests) + (SELECT COUNT(*) FROM image_references)",
                params![],
                |row| Ok(row.integer(0)),
            )
        });
        assert_eq!(left.await.expect("counts"), Some(0), "{}", db.engine());
    }
}
