//! Log groups: create, describe, retention, tags, delete.

use std::collections::BTreeMap;

use wharfinger_base::Page;

use crate::model::{Account, LogGroup};
use crate::store::{groups as store, removals};
use crate::{Error, Logs, Result};

/// The end of the range of texts with this prefix: nothing sorts after it that has the prefix.
/// Names hold characters below U+10FFFF.
pub(crate) fn prefix_end(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}

impl Logs {
    /// Makes a group.
    ///
    /// # Errors
    /// [`Error::GroupExists`].
    pub async fn create_group(
        &self,
        account: &Account,
        name: &str,
        class: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<()> {
        let group = LogGroup {
            id: self.ids.uuid().simple().to_string(),
            account: account.clone(),
            name: name.to_owned(),
            created_at: self.clock.now(),
            retention_days: None,
            class: class.to_owned(),
            tags,
        };
        self.db
            .write(move |tx| {
                if store::insert(tx, &group)? {
                    Ok(())
                } else {
                    Err(Error::GroupExists)
                }
            })
            .await
    }

    /// The group of this name, if there is one.
    pub async fn find_group(&self, account: &Account, name: &str) -> Result<Option<LogGroup>> {
        let (account, name) = (account.clone(), name.to_owned());
        self.db
            .get(move |tx| Ok(store::by_name(tx, &account, &name)?))
            .await
    }

    /// Groups by name, after `after`, whose names have the prefix.
    pub async fn groups(
        &self,
        account: &Account,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Page<LogGroup>> {
        let (account, from, after) = (account.clone(), prefix.to_owned(), after.to_owned());
        let found = self.db.read(move |tx| {
            let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
            Ok::<_, Error>(store::page(
                tx,
                &account,
                &after,
                &from,
                &prefix_end(&from),
                rows,
            )?)
        });
        Ok(Page::of(found.await?, limit, |group| group.name.clone()))
    }

    /// The bytes that each of these groups holds.
    pub async fn stored_bytes(&self, groups: Vec<LogGroup>) -> Result<Vec<(LogGroup, i64)>> {
        let work = move |tx: &mut wharfinger_db::Tx<'_>| {
            let mut sized = Vec::new();
            for group in &groups {
                sized.push((group.clone(), store::stored_bytes(tx, &group.id)?));
            }
            Ok(sized)
        };
        self.db.read(work).await
    }

    /// Sets after how many days events expire; `None` keeps them.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`].
    pub async fn set_retention(
        &self,
        account: &Account,
        name: &str,
        days: Option<i64>,
    ) -> Result<()> {
        self.change(account, name, move |tx, group| {
            Ok(store::set_retention(tx, &group.id, days)?)
        })
        .await
    }

    /// Sets tags and removes those with the keys in `removed`.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`].
    pub async fn change_tags(
        &self,
        account: &Account,
        name: &str,
        set: BTreeMap<String, String>,
        removed: Vec<String>,
    ) -> Result<()> {
        self.change(account, name, move |tx, mut group| {
            group.tags.extend(set.clone());
            group.tags.retain(|key, _| !removed.contains(key));
            Ok(store::set_tags(tx, &group.id, &group.tags)?)
        })
        .await
    }

    /// Deletes a group. Its name is free at once; a reconciler removes its events.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`].
    pub async fn delete_group(&self, account: &Account, name: &str) -> Result<()> {
        self.change(account, name, |tx, group| {
            store::remove(tx, &group.id)?;
            Ok(removals::insert(tx, &group.id, "")?)
        })
        .await
    }

    async fn change(
        &self,
        account: &Account,
        name: &str,
        work: impl Fn(&mut wharfinger_db::Tx<'_>, LogGroup) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (account, name) = (account.clone(), name.to_owned());
        self.db
            .write(move |tx| {
                let group = store::by_name(tx, &account, &name)?.ok_or(Error::NoSuchGroup)?;
                work(tx, group)
            })
            .await
    }
}
