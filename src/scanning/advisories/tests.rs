//! Tests of imports and look-ups on every engine.

use std::fs;
use std::io::Write as _;

use wharfinger_db::testing::every_engine;

use super::*;
use crate::MIGRATIONS;
use crate::package::{Package, PackageKind};

fn document(id: &str, package: &str, fixed: &str) -> String {
    format!(
        r#"{{"id": "{id}", "modified": "2024-01-01T00:00:00Z", "affected": [{{"package":
        {{"ecosystem": "npm", "name": "{package}"}}, "ranges": [{{"type": "SEMVER",
        "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#
    )
}

fn inventory(version: &str) -> Inventory {
    Inventory {
        packages: vec![
            Package::new(PackageKind::Npm, "lodash", version),
            Package::new(PackageKind::Go, "stdlib", "1.20"),
        ],
        ..Inventory::default()
    }
}

/// The names of what is found.
async fn found(advisories: &Advisories, version: &str) -> Vec<String> {
    let comparison = advisories
        .compare(&inventory(version))
        .await
        .expect("a comparison");
    comparison
        .vulnerabilities
        .expect("few")
        .into_iter()
        .map(|one| one.name)
        .collect()
}

#[tokio::test]
async fn imports_replace_their_source_and_failed_ones_change_nothing() {
    for db in every_engine(MIGRATIONS) {
        let advisories = Advisories::new(db, Clock::default());
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
        };
        write("README.md", "no advisory");
        write("a.json", &document("A", "lodash", "4.0.0"));
        write("b.json", &document("B", "lodash", "3.0.0"));
        let import = || advisories.import("osv", folder.path());
        let imported = ImportResult::Imported {
            documents: 2,
            advisories: 2,
        };
        assert_eq!(import().await.expect("an import"), imported);
        let first = advisories.state().await.expect("a state");
        let unchanged = ImportResult::Unchanged { advisories: 2 };
        assert_eq!(import().await.expect("an import"), unchanged);
        assert_eq!(advisories.state().await.expect("a state"), first);
        assert_eq!(found(&advisories, "3.5.0").await, ["A"]);
        assert_eq!(found(&advisories, "2.0.0").await, ["A", "B"]);

        write("c.json", "{\"id\": ");
        let error = import().await.expect_err("a malformed document");
        assert!(
            error.to_string().contains("c.json is not an advisory"),
            "{error}"
        );
        assert_eq!(found(&advisories, "2.0.0").await, ["A", "B"]);
        fs::remove_file(folder.path().join("a.json")).expect("a file");
        write("c.json", &document("C", "other", "1.0.0"));
        import().await.expect("an import");
        assert_eq!(found(&advisories, "2.0.0").await, ["B"]);

        let comparison = advisories
            .compare(&inventory("9.0.0"))
            .await
            .expect("a comparison");
        assert!(
            comparison
                .vulnerabilities
                .is_some_and(|found| found.is_empty())
        );
        assert_eq!(comparison.covered.into_iter().collect::<Vec<_>>(), ["npm"]);
        assert_eq!(comparison.missing.into_iter().collect::<Vec<_>>(), ["Go"]);
        advisories.clean().await.expect("a cleanup");
        let left = advisories.db.read(store::first_old).await.expect("a read");
        assert_eq!(left, None);
        assert_eq!(
            found(&advisories, "2.0.0").await,
            ["B"],
            "only old ones are removed"
        );
    }
}

#[tokio::test]
async fn sources_stand_beside_each_other_and_are_removed_one_by_one() {
    for db in every_engine(MIGRATIONS) {
        let advisories = Advisories::new(db, Clock::default());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("all.zip");
        let mut zip = zip::ZipWriter::new(fs::File::create(&path).expect("a file"));
        for (id, fixed) in [("A", "2.0.0"), ("B", "2.0.0")] {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(format!("{id}.json"), options)
                .expect("an entry");
            zip.write_all(document(id, "lodash", fixed).as_bytes())
                .expect("an entry");
        }
        zip.finish().expect("an archive");
        let single = folder.path().join("single");
        fs::write(&single, document("C", "lodash", "2.0.0")).expect("a file");
        advisories.import("zip", &path).await.expect("an import");
        advisories.import("one", &single).await.expect("an import");
        assert_eq!(found(&advisories, "1.0.0").await, ["A", "B", "C"]);
        let names = |sources: Vec<AdvisorySource>| -> Vec<(String, u64)> {
            sources
                .into_iter()
                .map(|one| (one.name, one.advisories))
                .collect()
        };
        let listed = names(advisories.list().await.expect("a list"));
        assert_eq!(listed, [("zip".to_owned(), 2), ("one".to_owned(), 1)]);
        assert!(advisories.remove("zip").await.expect("a removal"));
        assert!(!advisories.remove("zip").await.expect("a removal"));
        assert_eq!(found(&advisories, "1.0.0").await, ["C"]);
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).expect("a folder");
        for path in [empty, folder.path().join("missing")] {
            assert!(advisories.import("x", &path).await.is_err());
        }
        assert!(matches!(
            advisories.import("", &single).await,
            Err(AdvisoryError::Name)
        ));
    }
}

#[tokio::test]
async fn an_import_that_another_one_overtakes_has_no_effect() {
    for db in every_engine(MIGRATIONS) {
        let now = Timestamp::from_ms(1);
        let begin = |tx: &mut Tx<'_>| store::begin(tx, "osv", "d", Timestamp::from_ms(1));
        let first = db.write(begin).await.expect("a generation");
        let second = db.write(begin).await.expect("a generation");
        let activate = |id: i64| db.write(move |tx| store::activate(tx, id, "osv", 1, now));
        assert!(!activate(first).await.expect("a write"));
        assert!(activate(second).await.expect("a write"));
    }
}
