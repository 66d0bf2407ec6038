//! Log streams: create, describe, delete.

use wharfinger_base::Page;

use crate::groups::prefix_end;
use crate::model::{Account, LogStream, StreamOrder, StreamPosition};
use crate::store::{groups, removals, streams as store};
use crate::{Error, Logs, Result};

impl Logs {
    /// Makes a stream.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::StreamExists`].
    pub async fn create_stream(&self, account: &Account, group: &str, name: &str) -> Result<()> {
        let (account, group, name) = (account.clone(), group.to_owned(), name.to_owned());
        let id = self.ids.uuid().simple().to_string();
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
                if store::insert(tx, &group.id, &id, &name, now)? {
                    Ok(())
                } else {
                    Err(Error::StreamExists)
                }
            })
            .await
    }

    /// A page of streams. The prefix is for the order by name.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`].
    pub async fn streams(
        &self,
        account: &Account,
        group: &str,
        prefix: &str,
        order: StreamOrder,
        is_descending: bool,
        after: Option<StreamPosition>,
        limit: usize,
    ) -> Result<Page<LogStream, StreamPosition>> {
        let (account, group) = (account.clone(), group.to_owned());
        let (from, to) = (prefix.to_owned(), prefix_end(prefix));
        let found = self.db.read(move |tx| {
            let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
            let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
            let found = match order {
                StreamOrder::Name => {
                    let after = after.as_ref().map(|position| position.name.as_str());
                    let range = (from.as_str(), to.as_str());
                    store::page_by_name(tx, &group.id, after, range, is_descending, rows)
                }
                StreamOrder::LastEvent => {
                    let start = after
                        .clone()
                        .unwrap_or_else(|| first_by_event(is_descending));
                    store::page_by_event(tx, &group.id, &start, is_descending, rows)
                }
            };
            Ok::<_, Error>(found?)
        });
        Ok(Page::of(found.await?, limit, |stream| StreamPosition {
            last_event_at: stream
                .last_event_at
                .map_or(0, wharfinger_base::Timestamp::as_ms),
            name: stream.name.clone(),
        }))
    }

    /// Deletes a stream; a reconciler removes its events.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchStream`].
    pub async fn delete_stream(&self, account: &Account, group: &str, name: &str) -> Result<()> {
        let (account, group, name) = (account.clone(), group.to_owned(), name.to_owned());
        self.db
            .write(move |tx| {
                let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
                let stream = store::by_name(tx, &group.id, &name)?.ok_or(Error::NoSuchStream)?;
                store::remove(tx, &stream.id)?;
                Ok(removals::insert(tx, &group.id, &stream.id)?)
            })
            .await
    }
}

/// Before the first stream by last event.
fn first_by_event(is_descending: bool) -> StreamPosition {
    if is_descending {
        StreamPosition {
            last_event_at: i64::MAX,
            name: String::new(),
        }
    } else {
        StreamPosition {
            last_event_at: -1,
            name: String::new(),
        }
    }
}
