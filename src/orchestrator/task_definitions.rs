//! Task definitions: registered, found, listed, deregistered and deleted.

use wharfinger_base::{Clock, Page};
use wharfinger_db::{Db, Tx};

use crate::error::{Error, Result};
use crate::model::{
    AccountRegion, FamilyRevision, Tag, TaskDefinition, TaskDefinitionDocument,
    TaskDefinitionStatus,
};
use crate::quotas;
use crate::store::task_definitions::{self as store, ListPosition};
use crate::tags;
use crate::task_definition::{self, InvalidTaskDefinition, TaskDefinitionName, validate};

/// Most task definitions of one request to delete. Source: `DeleteTaskDefinitions`.
const MAX_DELETIONS: usize = 10;

const MISSING: &str = "The specified task definition does not exist. Specify a valid account, \
                       family, revision and try again.";
const STILL_ACTIVE: &str = "The specified task definition is still in ACTIVE status. Please \
                            deregister the target and try again.";

/// Operations on task definitions.
#[derive(Clone)]
pub struct TaskDefinitions {
    db: Db,
    clock: Clock,
}

/// What to list of the revisions of task definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDefinitionListing {
    pub status: TaskDefinitionStatus,
    /// Only this family; all where there is none.
    pub family: Option<String>,
    /// From the last family and revision to the first.
    pub descending: bool,
}

/// Which families to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyStatus {
    /// With an active revision.
    Active,
    /// With inactive revisions only.
    Inactive,
    All,
}

/// A task definition that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionFailure {
    /// As the request named it.
    pub name: String,
    pub reason: &'static str,
}

/// What became of a request to delete task definitions.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Deletions {
    pub deleted: Vec<TaskDefinition>,
    pub failures: Vec<DeletionFailure>,
}

impl TaskDefinitions {
    pub(super) const fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Registers a new revision of a family. `registered_by` is the ARN of the caller.
    ///
    /// # Errors
    /// [`Error::Client`] for a document that is not valid, [`Error::InvalidParameter`] for tags,
    /// [`Error::LimitExceeded`].
    pub async fn register(
        &self,
        home: &AccountRegion,
        family: &str,
        document: TaskDefinitionDocument,
        registered_by: &str,
        tags: Vec<Tag>,
    ) -> Result<TaskDefinition> {
        tags::check(&tags)?;
        let document = validate(home, family, document)?;
        let definition = TaskDefinition {
            home: home.clone(),
            name: FamilyRevision {
                family: family.to_owned(),
                revision: 0,
            },
            status: TaskDefinitionStatus::Active,
            registered_at: self.clock.now(),
            deregistered_at: None,
            delete_requested_at: None,
            registered_by: registered_by.to_owned(),
            document,
            tags,
        };
        let work = move |tx: &mut Tx<'_>| {
            let mut definition = definition.clone();
            let family = &definition.name.family;
            definition.name.revision = store::next_revision(tx, &definition.home, family)?;
            quotas::check_revision(definition.name.revision)?;
            store::insert(tx, &definition)?;
            Ok(definition)
        };
        self.db.write(work).await
    }

    /// The active task definition that a request names: a family stands for its newest active
    /// revision.
    ///
    /// # Errors
    /// [`Error::Client`] where there is none, or where it is not active.
    pub async fn resolve(&self, home: &AccountRegion, name: &str) -> Result<TaskDefinition> {
        let missing = || Error::Client("TaskDefinition not found.".to_owned());
        let name = TaskDefinitionName::parse(home, name).ok_or_else(missing)?;
        let found = self.find(home, name).await?.ok_or_else(missing)?;
        if found.status == TaskDefinitionStatus::Active {
            Ok(found)
        } else {
            Err(Error::Client("TaskDefinition is inactive".to_owned()))
        }
    }

    /// The task definition that a request names, in whatever state: a family stands for its newest
    /// active revision.
    ///
    /// # Errors
    /// [`Error::Client`] where there is none.
    pub async fn describe(&self, home: &AccountRegion, name: &str) -> Result<TaskDefinition> {
        let missing = || Error::Client("Unable to describe task definition.".to_owned());
        let name = TaskDefinitionName::parse(home, name).ok_or_else(missing)?;
        self.find(home, name).await?.ok_or_else(missing)
    }

    /// The revision, in whatever state.
    pub async fn get(
        &self,
        home: &AccountRegion,
        name: &FamilyRevision,
    ) -> Result<Option<TaskDefinition>> {
        self.find(home, TaskDefinitionName::Revision(name.clone()))
            .await
    }

    async fn find(
        &self,
        home: &AccountRegion,
        name: TaskDefinitionName,
    ) -> Result<Option<TaskDefinition>> {
        let home = home.clone();
        let work = move |tx: &mut Tx<'_>| match &name {
            TaskDefinitionName::Newest(family) => store::newest_active(tx, &home, family),
            TaskDefinitionName::Revision(name) => store::by_name(tx, &home, name),
        };
        Ok(self.db.get(work).await?)
    }

    /// Makes a revision inactive: nothing new runs it. One that is inactive stays as it is.
    ///
    /// # Errors
    /// [`Error::Client`] for a name without a revision, and where there is none.
    pub async fn deregister(&self, home: &AccountRegion, name: &str) -> Result<TaskDefinition> {
        let missing = || Error::Client("The specified task definition does not exist.".to_owned());
        let name = match TaskDefinitionName::parse(home, name).ok_or_else(missing)? {
            TaskDefinitionName::Revision(name) => name,
            TaskDefinitionName::Newest(_) => {
                return Err(Error::Client("Revision is missing.".to_owned()));
            }
        };
        let (home, now) = (home.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let mut found = store::by_name(tx, &home, &name)?.ok_or_else(missing)?;
            if found.status == TaskDefinitionStatus::Active {
                found.status = TaskDefinitionStatus::Inactive;
                found.deregistered_at = Some(now);
                store::update_status(tx, &found)?;
            }
            Ok(found)
        };
        self.db.write(work).await
    }

    /// Requests the deletion of up to ten inactive revisions. They are deleted when
    /// nothing runs them any more.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for more of them.
    pub async fn delete(&self, home: &AccountRegion, names: Vec<String>) -> Result<Deletions> {
        check_deletions(&names)?;
        let (home, now) = (home.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let mut deletions = Deletions::default();
            for name in &names {
                let found = match TaskDefinitionName::parse(&home, name) {
                    Some(TaskDefinitionName::Revision(name)) => store::by_name(tx, &home, &name)?,
                    _ => None,
                };
                let reason = match found {
                    None => MISSING,
                    Some(found) if found.status == TaskDefinitionStatus::Active => STILL_ACTIVE,
                    Some(mut found) => {
                        if found.status == TaskDefinitionStatus::Inactive {
                            found.status = TaskDefinitionStatus::DeleteInProgress;
                            found.delete_requested_at = Some(now);
                            store::update_status(tx, &found)?;
                        }
                        deletions.deleted.push(found);
                        continue;
                    }
                };
                let name = name.clone();
                deletions.failures.push(DeletionFailure { name, reason });
            }
            Ok(deletions)
        };
        self.db.write(work).await
    }

    /// Up to `limit` revisions after `after`; the page's key is the last one.
    pub async fn page(
        &self,
        home: &AccountRegion,
        listing: TaskDefinitionListing,
        after: Option<FamilyRevision>,
        limit: usize,
    ) -> Result<Page<FamilyRevision, FamilyRevision>> {
        let home = home.clone();
        let descending = listing.descending;
        let position = ListPosition {
            status: listing.status,
            family: listing.family,
            after: after.unwrap_or_else(|| FamilyRevision {
                family: String::new(),
                revision: 0,
            }),
        };
        let work = move |tx: &mut Tx<'_>| {
            if descending {
                store::page_back(tx, &home, &position, limit + 1)
            } else {
                store::page(tx, &home, &position, limit + 1)
            }
        };
        let rows = self.db.read(work).await?;
        Ok(Page::of(rows, limit, FamilyRevision::clone))
    }

    /// Up to `limit` families with names that start with `prefix`, after `after`; the page's key is
    /// the last name.
    pub async fn families(
        &self,
        home: &AccountRegion,
        prefix: &str,
        status: FamilyStatus,
        after: &str,
        limit: usize,
    ) -> Result<Page<String>> {
        let (home, prefix, after) = (home.clone(), prefix.to_owned(), after.to_owned());
        let active = match status {
            FamilyStatus::Active => Some(true),
            FamilyStatus::Inactive => Some(false),
            FamilyStatus::All => None,
        };
        let work =
            move |tx: &mut Tx<'_>| store::families(tx, &home, &prefix, active, &after, limit + 1);
        let rows = self.db.read(work).await?;
        Ok(Page::of(rows, limit, String::clone))
    }
}

/// Checks how many task definitions a request deletes.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_deletions(names: &[String]) -> Result<()> {
    if names.len() <= MAX_DELETIONS {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "At most {MAX_DELETIONS} task definitions can be deleted at once."
    )))
}

/// The ARN of a role that a request gives by its ARN or name; an empty text is no role.
///
/// # Errors
/// [`Error::Client`] for a text that names no role of the account.
pub fn role_arn(home: &AccountRegion, given: Option<&str>) -> Result<Option<String>> {
    Ok(task_definition::role_arn(home, given)?)
}

impl From<InvalidTaskDefinition> for Error {
    fn from(invalid: InvalidTaskDefinition) -> Self {
        Self::Client(invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::home;

    fn operations() -> TaskDefinitions {
        let db = Db::memory(crate::MIGRATIONS).expect("an index");
        TaskDefinitions::new(db, Clock::System)
    }

    async fn register(operations: &TaskDefinitions, family: &str) -> TaskDefinition {
        let document = json!({ "containerDefinitions": [
            { "name": "web", "image": "nginx", "memory": 64 },
        ] });
        let document = serde_json::from_value(document).expect("a document");
        let home = home();
        let registered = operations.register(&home, family, document, "me", Vec::new());
        registered.await.expect("a valid document")
    }

    fn client<T: std::fmt::Debug>(message: &str) -> Result<T> {
        Err(Error::Client(message.to_owned()))
    }

    #[tokio::test]
    async fn a_family_stands_for_its_newest_active_revision() {
        let operations = operations();
        let first = register(&operations, "web").await;
        let second = register(&operations, "web").await;
        assert_eq!((first.name.revision, second.name.revision), (1, 2));
        assert_eq!(
            operations.resolve(&home(), "web").await.as_ref(),
            Ok(&second)
        );
        operations
            .deregister(&home(), "web:2")
            .await
            .expect("it is there");
        assert_eq!(
            operations.resolve(&home(), "web").await.as_ref(),
            Ok(&first)
        );
        let inactive = operations.resolve(&home(), "web:2").await;
        assert_eq!(inactive, client("TaskDefinition is inactive"));
        let described = operations
            .describe(&home(), "web:2")
            .await
            .expect("it is there");
        assert_eq!(described.status, TaskDefinitionStatus::Inactive);
        for missing in ["web:3", "db", "web:x"] {
            let found = operations.resolve(&home(), missing).await;
            assert_eq!(found, client("TaskDefinition not found."), "{missing}");
            let found = operations.describe(&home(), missing).await;
            assert_eq!(
                found,
                client("Unable to describe task definition."),
                "{missing}"
            );
        }
    }

    #[tokio::test]
    async fn only_revisions_are_deregistered() {
        let operations = operations();
        register(&operations, "web").await;
        let found = operations.deregister(&home(), "web").await;
        assert_eq!(found, client("Revision is missing."));
        let found = operations.deregister(&home(), "web:9").await;
        assert_eq!(
            found,
            client("The specified task definition does not exist.")
        );
        let once = operations
            .deregister(&home(), "web:1")
            .await
            .expect("it is there");
        let again = operations
            .deregister(&home(), "web:1")
            .await
            .expect("it is there");
        assert_eq!(once.deregistered_at, again.deregistered_at);
    }

    #[tokio::test]
    async fn only_inactive_revisions_are_deleted() {
        let operations = operations();
        register(&operations, "web").await;
        register(&operations, "web").await;
        operations
            .deregister(&home(), "web:1")
            .await
            .expect("it is there");
        let names = ["web:1", "web:2", "web:3", "web"].map(str::to_owned);
        let found = operations
            .delete(&home(), names.to_vec())
            .await
            .expect("few names");
        let status = TaskDefinitionStatus::DeleteInProgress;
        assert_eq!(found.deleted.len(), 1);
        assert_eq!(found.deleted[0].status, status);
        let failures: Vec<_> = found
            .failures
            .iter()
            .map(|failure| (failure.name.as_str(), failure.reason))
            .collect();
        assert_eq!(
            failures,
            [
                ("web:2", STILL_ACTIVE),
                ("web:3", MISSING),
                ("web", MISSING)
            ]
        );
        let many = vec!["web:1".to_owned(); MAX_DELETIONS + 1];
        assert!(operations.delete(&home(), many).await.is_err());
    }
}
