//! Takes content out of repositories that no image of theirs needs any more.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};

use crate::gc::verdict::{Verdict, verdict};
use crate::model::RepositoryId;
use crate::store::gc::{self as store, CheckedLink};
use crate::store::{archive, blobs, images};

/// References that are removed together with their image: of all but very large images every one.
/// The collector removes the others, so that no deletion holds up other writes for long.
const RELEASED_AT_ONCE: usize = 128;

/// Deletes the image with its tags, and takes what only it needed out of the repository. Every
/// deletion of an image, whatever its cause, calls this.
///
/// Content on which a lease runs stays until its end, since a push may be about to reference it.
/// Members of an index are images of their own and stay.
pub(crate) fn delete_image(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
    now: Timestamp,
) -> db::Result<()> {
    images::delete_without_references(tx, image)?;
    let mut released = 0;
    while released < RELEASED_AT_ONCE {
        let some = release_some(tx, image, now)?;
        if some == 0 {
            return Ok(());
        }
        released += some;
    }
    store::insert_deleted_image(tx, repository, image)
}

/// Removes some references of a deleted image, and links that only they needed; returns how many,
/// 0 once none is left.
pub(super) fn release_some(tx: &mut Tx<'_>, image: i64, now: Timestamp) -> db::Result<usize> {
    let references = store::references_of(tx, image)?;
    let Some(last) = references.last() else {
        return Ok(0);
    };
    let last = last.child;
    for reference in &references {
        if let Some(link) = &reference.link {
            settle(tx, link, now)?;
        }
    }
    store::delete_references_to(tx, image, &last)?;
    Ok(references.len())
}

/// Does with a link what is to be done with it.
pub(super) fn settle(tx: &mut Tx<'_>, link: &CheckedLink, now: Timestamp) -> db::Result<Verdict> {
    let is_due = link.check_at.is_some_and(|check_at| check_at <= now);
    let verdict = verdict(link.referenced, link.lease_until, now);
    match verdict {
        Verdict::Keep if is_due => store::check_link_at(tx, link, None)?,
        Verdict::Wait(until) if is_due || link.check_at.is_none() => {
            store::check_link_at(tx, link, Some(until))?;
        }
        Verdict::Keep => archive::note_released(tx, &link.digest)?,
        Verdict::Wait(_) => {}
        Verdict::Remove => {
            blobs::unlink(tx, link.repository, &link.digest)?;
        }
    }
    Ok(verdict)
}
