//! The row of `journal`, and the reading of what the journal tells.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::{Digest, Reference};

use crate::journal::record::{
    ArchivedState, ImageState, LinkState, RepositoryState, State, Subject, TagState,
};
use crate::model::{ImageStatus, RepositoryId};
use crate::store::journal_entries::{
    IMAGE, LINK, PULL, REGISTRY, REPOSITORY, TAG, insert, remove_entries,
};
use crate::store::{
    archive, blobs, image_status, images, journal_entries, journal_registries, leases, lifecycle,
    rebuild, repositories, signed, tags, unsigned,
};

/// The name of the lease of the server that writes the journal.
const LEASE: &str = "journal";

/// Whether a row tells what must not be written: the manifest of an image is damaged. What the
/// journal has of it stays.
pub(crate) fn is_damaged(subject: &Subject, state: Option<&State>) -> bool {
    let (Subject::Image(_, digest), Some(State::Image(image))) = (subject, state) else {
        return false;
    };
    Digest::of(digest.algorithm(), image.manifest.as_bytes()) != *digest
}

/// What a row holds now. A manifest that is no text has replacement characters.
pub(crate) fn state(tx: &mut Tx<'_>, subject: &Subject) -> db::Result<Option<State>> {
    match subject {
        Subject::Repository(id) => repository(tx, RepositoryId(*id)),
        Subject::Image(id, digest) => {
            let reference = Reference::Digest(*digest);
            let Some(stored) = images::stored(tx, RepositoryId(*id), &reference)? else {
                return Ok(None);
            };
            let replicated = match images::id_by_digest(tx, RepositoryId(*id), digest)? {
                Some(image) => image_status::is_replicated(tx, image)?,
                None => false,
            };
            let manifest = String::from_utf8_lossy(&stored.bytes).into_owned();
            Ok(Some(State::Image(Box::new(ImageState {
                media_type: stored.image.media_type.as_str().to_owned(),
                content_size: stored.image.content_size,
                pushed_at: stored.image.pushed_at.as_ms(),
                pulled_at: stored.image.pulled_at.map(Timestamp::as_ms),
                archived: stored.image.status != ImageStatus::Active,
                activating: stored.image.status == ImageStatus::Activating,
                replicated,
                archived_at: stored.image.archived_at.map(Timestamp::as_ms),
                activated_at: stored.image.activated_at.map(Timestamp::as_ms),
                manifest,
            }))))
        }
        Subject::Tag(id, name) => {
            let target = tags::target_since(tx, RepositoryId(*id), name)?;
            Ok(target.map(|(image, tagged_at)| {
                State::Tag(TagState {
                    image,
                    tagged_at: tagged_at.as_ms(),
                })
            }))
        }
        Subject::Link(id, digest) => {
            let linked = blobs::linked(tx, RepositoryId(*id), digest)?;
            if let Some((blob, _)) = linked {
                return Ok(Some(State::Link(LinkState {
                    size: blob.size,
                    key: blob.key.as_str().to_owned(),
                    archived: None,
                })));
            }
            let archived = archive::linked(tx, RepositoryId(*id), digest)?;
            Ok(archived.map(|blob| {
                State::Link(LinkState {
                    size: blob.size,
                    key: blob.key.as_str().to_owned(),
                    archived: Some(ArchivedState {
                        encoding: blob.encoding.name().to_owned(),
                        stored_size: blob.stored_size,
                    }),
                })
            }))
        }
        Subject::Pull(id, digest) => {
            let pulled_at = rebuild::pulled_at(tx, RepositoryId(*id), digest)?;
            Ok(pulled_at.map(State::Pull))
        }
        Subject::Registry(name) => {
            let registry = journal_entries::registry_named(name)?;
            let state = journal_registries::state(tx, &registry)?;
            Ok(Some(State::Registry(Box::new(state))))
        }
    }
}

fn repository(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<Option<State>> {
    let Some(row) = repositories::by_id(tx, id)? else {
        return Ok(None);
    };
    let policy = match row.policy {
        Some(policy) => repositories::policy_text(tx, policy)?,
        None => None,
    };
    Ok(Some(State::Repository(Box::new(RepositoryState {
        account: row.registry.account.to_string(),
        region: row.registry.region.to_string(),
        name: row.name.to_string(),
        created_at: row.created_at.as_ms(),
        mutability: row.settings.mutability.mode,
        mutability_exclusions: row.settings.mutability.exclusions,
        scan_on_push: row.settings.scan_on_push,
        encryption: row.settings.encryption,
        tags: row.settings.tags,
        policy,
        lifecycle_policy: lifecycle::find(tx, id)?.map(|row| row.text),
    }))))
}

/// The row of `journal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JournalRow {
    /// The number of the newest segment.
    pub(crate) number: u64,
    /// Where the writing of everything stands; `None` where it is not under way.
    pub(crate) refresh: Option<Refresh>,
    /// How large the journal was when everything had been written anew, in bytes.
    pub(crate) refreshed_bytes: u64,
}

/// How far everything has been written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refresh {
    /// The last row for which there is an entry; `None` once all rows have one.
    pub(crate) after: Option<Position>,
    /// The number of the newest segment at the beginning. Once all entries are written, the
    /// segments up to this one are not needed.
    pub(crate) number: u64,
    /// The journal was of another index, or of a newer copy of this one.
    pub(crate) is_catching_up: bool,
}

/// A row of one kind: those after it are still to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    kind: &'static str,
    repository: i64,
    digest: Vec<u8>,
    name: String,
}

impl Position {
    /// Before all rows of a kind.
    fn before(kind: &'static str) -> Self {
        Self {
            kind,
            repository: 0,
            digest: Vec::new(),
            name: String::new(),
        }
    }
}

/// Makes `holder` the writer of the journal until then, unless another server is; gives the row.
pub(crate) fn hold(
    tx: &mut Tx<'_>,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> db::Result<Option<JournalRow>> {
    let (now, until) = match tx.server_time()? {
        Some(server) => (server, server.plus(until.since(now))),
        // An index within this process has one server: an earlier holder is gone.
        None => (Timestamp::from_ms(i64::MAX), until),
    };
    if leases::take(tx, LEASE, holder, now, until)? {
        journal(tx)
    } else {
        Ok(None)
    }
}

fn journal(tx: &mut Tx<'_>) -> db::Result<Option<JournalRow>> {
    tx.query_optional(
        "SELECT number, refresh, refresh_repository, refresh_digest, refresh_name, \
         refresh_number, refreshed_bytes, catching_up
         FROM journal WHERE id = 1",
        params![],
        |row| {
            let kind = KINDS.into_iter().find(|kind| *kind == row.text(1));
            let after = kind.map(|kind| Position {
                kind,
                repository: row.integer(2),
                digest: row.optional_bytes(3).unwrap_or_default().to_vec(),
                name: row.optional_text(4).unwrap_or_default().to_owned(),
            });
            let number = unsigned(row.integer(5))?;
            Ok(JournalRow {
                number: unsigned(row.integer(0))?,
                refresh: (!row.text(1).is_empty()).then_some(Refresh {
                    after,
                    number,
                    is_catching_up: row.integer(7) != 0,
                }),
                refreshed_bytes: unsigned(row.integer(6))?,
            })
        },
    )
}

/// The order in which everything is written anew.
const KINDS: [&str; 5] = [REPOSITORY, LINK, IMAGE, TAG, REGISTRY];

/// The number of a new segment, and that of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewSegment {
    pub(crate) number: u64,
    /// 0 for the first one of an index.
    pub(crate) previous: u64,
}

/// Gives out the number of a new segment; `None` where another server has become the writer.
pub(crate) fn next_number(tx: &mut Tx<'_>, holder: &str) -> db::Result<Option<NewSegment>> {
    if !leases::is_held(tx, LEASE, holder)? {
        return Ok(None);
    }
    tx.query_optional(
        "UPDATE journal SET number = number + 1 WHERE id = 1 RETURNING number, written_number",
        params![],
        |row| {
            Ok(NewSegment {
                number: unsigned(row.integer(0))?,
                previous: unsigned(row.integer(1))?,
            })
        },
    )
}

/// The number of the newest segment when everything began to be written anew, if that is under way.
pub(crate) fn refresh_number(tx: &mut Tx<'_>) -> db::Result<Option<u64>> {
    let refresh = journal(tx)?.and_then(|row| row.refresh);
    Ok(refresh.map(|refresh| refresh.number))
}

/// The number of the newest segment that was written; 0 where none was.
pub(crate) fn written_number(tx: &mut Tx<'_>) -> db::Result<u64> {
    let number = tx.query_optional(
        "SELECT written_number FROM journal WHERE id = 1",
        params![],
        |row| unsigned(row.integer(0)),
    )?;
    Ok(number.unwrap_or_default())
}

/// Removes the entries that the segment of this number holds; false where another server has become
/// the writer, which has read them, too.
pub(crate) fn written(tx: &mut Tx<'_>, holder: &str, number: u64, ids: &[i64]) -> db::Result<bool> {
    let held = leases::is_held(tx, LEASE, holder)?;
    if held {
        tx.execute(
            "UPDATE journal SET written_number = ?1 WHERE id = 1",
            params![signed(number)],
        )?;
        remove_entries(tx, ids)?;
    }
    Ok(held)
}

/// What the writer of the journal has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nothing,
    /// Nothing but times of pulls, and fewer than fill a segment.
    Pulls,
    Changes,
}

/// What waits, where a segment takes `entries`; that everything is being written anew counts as a
/// change.
pub(crate) fn waiting(tx: &mut Tx<'_>, entries: i64) -> db::Result<Waiting> {
    let refresh = tx.query_optional(
        "SELECT 1 FROM journal WHERE refresh <> '' LIMIT 1",
        params![],
        |_| Ok(()),
    )?;
    if refresh.is_some() {
        return Ok(Waiting::Changes);
    }
    let pulls = tx.query(
        "SELECT kind FROM journal_entries ORDER BY id LIMIT ?1",
        params![entries],
        |row| Ok(row.text(0) == PULL),
    )?;
    if pulls.is_empty() {
        Ok(Waiting::Nothing)
    } else if (pulls.len() as u64) < entries.unsigned_abs() && pulls.iter().all(|pull| *pull) {
        Ok(Waiting::Pulls)
    } else {
        Ok(Waiting::Changes)
    }
}

/// Makes the newest segment of the store the newest one known, and begins to write everything anew
/// if it was not known.
pub(crate) fn raise_number(tx: &mut Tx<'_>, holder: &str, last: u64) -> db::Result<()> {
    let known = journal(tx)?.map_or(0, |row| row.number);
    if last > known && leases::is_held(tx, LEASE, holder)? {
        tx.execute(
            "UPDATE journal SET number = ?1, catching_up = 1 WHERE id = 1",
            params![signed(last)],
        )?;
        begin_refresh(tx, holder)?;
    }
    Ok(())
}

/// The number that the first journal of a store leaves out.
const LEFT_OUT: u64 = 1;

/// Leaves a number out before everything is written to a store that has no segment. The first
/// segment names it as the one before, so that a journal that is not whole yet shows it.
pub(crate) fn leave_number_out(tx: &mut Tx<'_>, holder: &str) -> db::Result<()> {
    if leases::is_held(tx, LEASE, holder)? && !rebuild::is_empty(tx)? {
        tx.execute(
            "UPDATE journal SET number = ?1, written_number = ?1, refresh_number = ?1
             WHERE id = 1 AND number = 0 AND refresh <> ''",
            params![signed(LEFT_OUT)],
        )?;
    }
    Ok(())
}

/// The number that is left out while the first journal is being written; `None` at other times.
pub(crate) fn left_out(tx: &mut Tx<'_>) -> db::Result<Option<u64>> {
    let refresh = journal(tx)?.and_then(|row| row.refresh);
    Ok(refresh
        .map(|refresh| refresh.number)
        .filter(|number| *number == LEFT_OUT))
}

/// Begins to write everything anew.
pub(crate) fn begin_refresh(tx: &mut Tx<'_>, holder: &str) -> db::Result<()> {
    if leases::is_held(tx, LEASE, holder)? {
        refresh_from_start(tx)?;
    }
    Ok(())
}

/// Begins to write everything anew, while no server serves the index.
pub(crate) fn refresh_from_start(tx: &mut Tx<'_>) -> db::Result<()> {
    tx.execute(
        "UPDATE journal SET refresh = ?1, refresh_repository = 0, refresh_digest = NULL, \
         refresh_name = NULL, refresh_number = number WHERE id = 1",
        params![REPOSITORY],
    )?;
    Ok(())
}

/// Ends it: everything is in segments after the beginning, which take so many bytes.
pub(crate) fn end_refresh(tx: &mut Tx<'_>, holder: &str, bytes: u64) -> db::Result<()> {
    if leases::is_held(tx, LEASE, holder)? {
        tx.execute(
            "UPDATE journal SET refresh = '', refreshed_bytes = ?1, catching_up = 0 WHERE id = 1",
            params![signed(bytes)],
        )?;
    }
    Ok(())
}

/// Makes entries for the next `limit` rows after the position, and moves the position.
pub(crate) fn refresh_some(
    tx: &mut Tx<'_>,
    holder: &str,
    after: &Position,
    limit: i64,
) -> db::Result<()> {
    if !leases::is_held(tx, LEASE, holder)? {
        return Ok(());
    }
    let rows = rows_after(tx, after, limit)?;
    for row in &rows {
        let digest = (!row.digest.is_empty()).then_some(row.digest.as_slice());
        let name = (!row.name.is_empty()).then_some(row.name.as_str());
        insert(tx, row.kind, row.repository, digest, name)?;
    }
    let next = match rows.into_iter().next_back() {
        Some(last) => last,
        None => Position::before(kind_after(after.kind)),
    };
    tx.execute(
        "UPDATE journal SET refresh = ?1, refresh_repository = ?2, refresh_digest = ?3, \
         refresh_name = ?4 WHERE id = 1",
        params![
            next.kind,
            next.repository,
            next.digest.as_slice(),
            next.name.as_str()
        ],
    )?;
    Ok(())
}

/// The kind of rows that comes after another one; `written` after the last.
fn kind_after(kind: &str) -> &'static str {
    let mut kinds = KINDS.into_iter().skip_while(|one| *one != kind);
    kinds.nth(1).unwrap_or("written")
}

fn rows_after(tx: &mut Tx<'_>, after: &Position, limit: i64) -> db::Result<Vec<Position>> {
    let kind = after.kind;
    let by_digest = |row: &Row<'_>| {
        Ok(Position {
            repository: row.integer(0),
            digest: row.bytes(1).to_vec(),
            ..Position::before(kind)
        })
    };
    match kind {
        REPOSITORY => tx.query(
            "SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT ?2",
            params![after.repository, limit],
            |row| {
                Ok(Position {
                    repository: row.integer(0),
                    ..Position::before(kind)
                })
            },
        ),
        LINK => tx.query(
            "SELECT repository_id, digest FROM blob_links WHERE (repository_id, digest) > (?1, ?2)
             ORDER BY repository_id, digest LIMIT ?3",
            params![after.repository, after.digest.as_slice(), limit],
            by_digest,
        ),
        IMAGE => tx.query(
            "SELECT repository_id, digest FROM images WHERE (repository_id, digest) > (?1, ?2)
             ORDER BY repository_id, digest LIMIT ?3",
            params![after.repository, after.digest.as_slice(), limit],
            by_digest,
        ),
        REGISTRY => {
            let names = journal_registries::names_after(tx, &after.name, limit)?;
            let position = |name| Position {
                name,
                ..Position::before(kind)
            };
            Ok(names.into_iter().map(position).collect())
        }
        _ => tx.query(
            "SELECT repository_id, name FROM tags WHERE (repository_id, name) > (?1, ?2)
             ORDER BY repository_id, name LIMIT ?3",
            params![after.repository, after.name.as_str(), limit],
            |row| {
                Ok(Position {
                    repository: row.integer(0),
                    name: row.text(1).to_owned(),
                    ..Position::before(kind)
                })
            },
        ),
    }
}
