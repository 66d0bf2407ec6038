//! Rows of `task_definitions` and `task_definition_families`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{AccountRegion, FamilyRevision, TaskDefinition, TaskDefinitionStatus};
use crate::store::{document, from_document, parsed, row_count};

/// Takes the next revision of a family. None is ever given twice.
pub(crate) fn next_revision(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    family: &str,
) -> db::Result<i64> {
    let revision = tx.query_optional(
        "INSERT INTO task_definition_families (account, region, family, last_revision)
         VALUES (?1, ?2, ?3, 1) ON CONFLICT (account, region, family)
         DO UPDATE SET last_revision = task_definition_families.last_revision + 1
         RETURNING last_revision",
        params![home.account.as_str(), home.region.as_str(), family],
        |row| Ok(row.integer(0)),
    )?;
    revision.ok_or_else(|| db::Error::other("an insert that returned no row"))
}

pub(crate) fn insert(tx: &mut Tx<'_>, definition: &TaskDefinition) -> db::Result<()> {
    let TaskDefinition { home, name, .. } = definition;
    tx.execute(
        "INSERT INTO task_definitions (account, region, family, revision, status, registered_at, \
         deregistered_at, delete_requested_at, registered_by, document, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            home.account.as_str(),
            home.region.as_str(),
            &name.family,
            name.revision,
            definition.status.as_str(),
            definition.registered_at,
            definition.deregistered_at.map(Timestamp::as_ms),
            definition.delete_requested_at.map(Timestamp::as_ms),
            &definition.registered_by,
            document(&definition.document)?,
            document(&definition.tags)?
        ],
    )?;
    Ok(())
}

/// The revision, in whatever state.
pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &FamilyRevision,
) -> db::Result<Option<TaskDefinition>> {
    tx.query_optional(
        "SELECT family, revision, status, registered_at, deregistered_at, delete_requested_at, \
         registered_by, document, tags FROM task_definitions
         WHERE account = ?1 AND region = ?2 AND family = ?3 AND revision = ?4",
        params![
            home.account.as_str(),
            home.region.as_str(),
            &name.family,
            name.revision
        ],
        |row| read(row, home),
    )
}

/// The newest active revision of a family.
pub(crate) fn newest_active(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    family: &str,
) -> db::Result<Option<TaskDefinition>> {
    tx.query_optional(
        "SELECT family, revision, status, registered_at, deregistered_at, delete_requested_at, \
         registered_by, document, tags FROM task_definitions
         WHERE account = ?1 AND region = ?2 AND status = 'ACTIVE' AND family = ?3
         ORDER BY revision DESC LIMIT 1",
        params![home.account.as_str(), home.region.as_str(), family],
        |row| read(row, home),
    )
}

/// Writes the state of a revision, and since when it has it.
pub(crate) fn update_status(tx: &mut Tx<'_>, definition: &TaskDefinition) -> db::Result<()> {
    let TaskDefinition { home, name, .. } = definition;
    tx.execute(
        "UPDATE task_definitions SET status = ?1, deregistered_at = ?2, delete_requested_at = ?3
         WHERE account = ?4 AND region = ?5 AND family = ?6 AND revision = ?7",
        params![
            definition.status.as_str(),
            definition.deregistered_at.map(Timestamp::as_ms),
            definition.delete_requested_at.map(Timestamp::as_ms),
            home.account.as_str(),
            home.region.as_str(),
            &name.family,
            name.revision
        ],
    )?;
    Ok(())
}

pub(crate) fn delete(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &FamilyRevision,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM task_definitions
         WHERE account = ?1 AND region = ?2 AND family = ?3 AND revision = ?4",
        params![
            home.account.as_str(),
            home.region.as_str(),
            &name.family,
            name.revision
        ],
    )?;
    Ok(())
}

/// A position in a listing by family and revision. Families sort by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListPosition {
    pub(crate) status: TaskDefinitionStatus,
    /// Only this family; all where there is none.
    pub(crate) family: Option<String>,
    /// Exclusive.
    pub(crate) after: FamilyRevision,
}

/// Up to `limit` revisions in a state after a position, in rising order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    position: &ListPosition,
    limit: usize,
) -> db::Result<Vec<FamilyRevision>> {
    let ListPosition {
        status,
        family,
        after,
    } = position;
    let (account, region) = (home.account.as_str(), home.region.as_str());
    if let Some(family) = family {
        let first = if after.family == *family {
            after.revision
        } else {
            0
        };
        return tx.query(
            "SELECT family, revision FROM task_definitions
             WHERE account = ?1 AND region = ?2 AND status = ?3 AND family = ?4 AND revision > ?5
             ORDER BY revision LIMIT ?6",
            params![
                account,
                region,
                status.as_str(),
                family,
                first,
                row_count(limit)
            ],
            |row| Ok(read_name(row)),
        );
    }
    tx.query(
        "SELECT family, revision FROM task_definitions
         WHERE account = ?1 AND region = ?2 AND status = ?3 AND (family, revision) > (?4, ?5)
         ORDER BY family, revision LIMIT ?6",
        params![
            account,
            region,
            status.as_str(),
            &after.family,
            after.revision,
            row_count(limit)
        ],
        |row| Ok(read_name(row)),
    )
}

/// Up to `limit` revisions in a state before a position, in falling order; the last ones where
/// there is no position.
pub(crate) fn page_back(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    position: &ListPosition,
    limit: usize,
) -> db::Result<Vec<FamilyRevision>> {
    let ListPosition {
        status,
        family,
        after,
    } = position;
    let (account, region) = (home.account.as_str(), home.region.as_str());
    let from_end = after.family.is_empty();
    let before = if from_end { i64::MAX } else { after.revision };
    if let Some(family) = family {
        return tx.query(
            "SELECT family, revision FROM task_definitions
             WHERE account = ?1 AND region = ?2 AND status = ?3 AND family = ?4 AND revision < ?5
             ORDER BY revision DESC LIMIT ?6",
            params![
                account,
                region,
                status.as_str(),
                family,
                before,
                row_count(limit)
            ],
            |row| Ok(read_name(row)),
        );
    }
    // No family has bytes above those of ASCII letters.
    let family = if from_end { "~" } else { after.family.as_str() };
    tx.query(
        "SELECT family, revision FROM task_definitions
         WHERE account = ?1 AND region = ?2 AND status = ?3 AND (family, revision) < (?4, ?5)
         ORDER BY family DESC, revision DESC LIMIT ?6",
        params![
            account,
            region,
            status.as_str(),
            family,
            before,
            row_count(limit)
        ],
        |row| Ok(read_name(row)),
    )
}

/// Up to `limit` families whose names start with `prefix`, after `after`, that have an active
/// revision where `active`, or revisions of which none is active where not.
pub(crate) fn families(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    prefix: &str,
    active: Option<bool>,
    after: &str,
    limit: usize,
) -> db::Result<Vec<String>> {
    let end = format!("{prefix}~");
    let parameters = params![
        home.account.as_str(),
        home.region.as_str(),
        prefix,
        end,
        after,
        row_count(limit)
    ];
    let name = |row: &Row<'_>| Ok(row.text(0).to_owned());
    match active {
        Some(true) => tx.query(
            "SELECT f.family FROM task_definition_families f
             WHERE f.account = ?1 AND f.region = ?2 AND f.family >= ?3 AND f.family < ?4
             AND f.family > ?5 AND EXISTS (SELECT 1 FROM task_definitions d
             WHERE d.account = f.account AND d.region = f.region AND d.status = 'ACTIVE'
             AND d.family = f.family) ORDER BY f.family LIMIT ?6",
            parameters,
            name,
        ),
        Some(false) => tx.query(
            "SELECT f.family FROM task_definition_families f
             WHERE f.account = ?1 AND f.region = ?2 AND f.family >= ?3 AND f.family < ?4
             AND f.family > ?5 AND EXISTS (SELECT 1 FROM task_definitions d
             WHERE d.account = f.account AND d.region = f.region AND d.status = 'INACTIVE'
             AND d.family = f.family) AND NOT EXISTS (SELECT 1 FROM task_definitions d
             WHERE d.account = f.account AND d.region = f.region AND d.status = 'ACTIVE'
             AND d.family = f.family) ORDER BY f.family LIMIT ?6",
            parameters,
            name,
        ),
        None => tx.query(
            "SELECT f.family FROM task_definition_families f
             WHERE f.account = ?1 AND f.region = ?2 AND f.family >= ?3 AND f.family < ?4
             AND f.family > ?5 AND EXISTS (SELECT 1 FROM task_definitions d
             WHERE d.account = f.account AND d.region = f.region
             AND d.family = f.family) ORDER BY f.family LIMIT ?6",
            parameters,
            name,
        ),
    }
}

fn read_name(row: &Row<'_>) -> FamilyRevision {
    FamilyRevision {
        family: row.text(0).to_owned(),
        revision: row.integer(1),
    }
}

fn read(row: &Row<'_>, home: &AccountRegion) -> db::Result<TaskDefinition> {
    Ok(TaskDefinition {
        home: home.clone(),
        name: read_name(row),
        status: parsed(row.text(2))?,
        registered_at: Timestamp::from_ms(row.integer(3)),
        deregistered_at: row.optional_integer(4).map(Timestamp::from_ms),
        delete_requested_at: row.optional_integer(5).map(Timestamp::from_ms),
        registered_by: row.text(6).to_owned(),
        document: from_document(row.text(7))?,
        tags: from_document(row.text(8))?,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::{TaskDefinitionDocument, home};

    fn name(family: &str, revision: i64) -> FamilyRevision {
        FamilyRevision {
            family: family.to_owned(),
            revision,
        }
    }

    fn definition(family: &str, revision: i64) -> TaskDefinition {
        TaskDefinition {
            home: home(),
            name: name(family, revision),
            status: TaskDefinitionStatus::Active,
            registered_at: Timestamp::from_ms(7),
            deregistered_at: None,
            delete_requested_at: None,
            registered_by: "arn:aws:iam::123456789012:root".to_owned(),
            document: TaskDefinitionDocument {
                cpu: Some("256".to_owned()),
                ..TaskDefinitionDocument::default()
            },
            tags: Vec::new(),
        }
    }

    fn names(found: &[FamilyRevision]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn rows_are_read_as_they_were_written() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut one = definition("web", 1);
                insert(tx, &one)?;
                assert_eq!(by_name(tx, &home(), &one.name)?.as_ref(), Some(&one));
                assert_eq!(newest_active(tx, &home(), "web")?.as_ref(), Some(&one));
                one.status = TaskDefinitionStatus::Inactive;
                one.deregistered_at = Some(Timestamp::from_ms(8));
                one.delete_requested_at = Some(Timestamp::from_ms(9));
                update_status(tx, &one)?;
                assert_eq!(by_name(tx, &home(), &one.name)?.as_ref(), Some(&one));
                assert_eq!(newest_active(tx, &home(), "web")?, None);
                delete(tx, &home(), &one.name)?;
                assert_eq!(by_name(tx, &home(), &one.name)?, None);
                Ok(())
            });
            check.await.expect("the index works");
        }
    }

    #[tokio::test]
    async fn revisions_are_never_given_twice() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                for expected in 1..4 {
                    assert_eq!(next_revision(tx, &home(), "web")?, expected);
                }
                insert(tx, &definition("web", 3))?;
                delete(tx, &home(), &name("web", 3))?;
                assert_eq!(next_revision(tx, &home(), "web")?, 4);
                assert_eq!(next_revision(tx, &home(), "db")?, 1);
                Ok(())
            });
            check.await.expect("the index works");
        }
    }

    #[tokio::test]
    async fn listings_go_both_ways() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                for (family, revisions) in [("a", 1..4), ("a-b", 1..2), ("z", 9..12)] {
                    for revision in revisions {
                        insert(tx, &definition(family, revision))?;
                    }
                }
                let mut old = definition("z", 12);
                old.status = TaskDefinitionStatus::Inactive;
                insert(tx, &old)?;
                let from = |family: Option<&str>, after: FamilyRevision| ListPosition {
                    status: TaskDefinitionStatus::Active,
                    family: family.map(str::to_owned),
                    after,
                };
                let all = from(None, name("", 0));
                let rising = ["a:1", "a:2", "a:3", "a-b:1", "z:9", "z:10", "z:11"];
                assert_eq!(names(&page(tx, &home(), &all, 9)?), rising);
                let falling: Vec<_> = rising.iter().rev().copied().collect();
                assert_eq!(names(&page_back(tx, &home(), &all, 9)?), falling);
                let middle = from(None, name("a", 3));
                assert_eq!(names(&page(tx, &home(), &middle, 2)?), ["a-b:1", "z:9"]);
                assert_eq!(names(&page_back(tx, &home(), &middle, 9)?), ["a:2", "a:1"]);
                let one = from(Some("z"), name("", 0));
                assert_eq!(names(&page(tx, &home(), &one, 2)?), ["z:9", "z:10"]);
                assert_eq!(names(&page_back(tx, &home(), &one, 2)?), ["z:11", "z:10"]);
                let one = from(Some("z"), name("z", 10));
                assert_eq!(names(&page(tx, &home(), &one, 2)?), ["z:11"]);
                assert_eq!(names(&page_back(tx, &home(), &one, 2)?), ["z:9"]);
                Ok(())
            });
            check.await.expect("the index works");
        }
    }

    #[tokio::test]
    async fn families_are_listed_by_what_they_have() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                for (family, status) in [
                    ("a", TaskDefinitionStatus::Active),
                    ("ab", TaskDefinitionStatus::Inactive),
                    ("b", TaskDefinitionStatus::Active),
                    ("c", TaskDefinitionStatus::DeleteInProgress),
                ] {
                    let revision = next_revision(tx, &home(), family)?;
                    let mut one = definition(family, revision);
                    one.status = status;
                    insert(tx, &one)?;
                }
                next_revision(tx, &home(), "gone")?;
                let mut list = |prefix: &str, active, after: &str| {
                    families(tx, &home(), prefix, active, after, 9)
                };
                assert_eq!(list("", None, "")?, ["a", "ab", "b", "c"]);
                assert_eq!(list("", Some(true), "")?, ["a", "b"]);
                assert_eq!(list("", Some(false), "")?, ["ab"]);
                assert_eq!(list("a", None, "")?, ["a", "ab"]);
                assert_eq!(list("a", None, "a")?, ["ab"]);
                Ok(())
            });
            check.await.expect("the index works");
        }
    }
}
