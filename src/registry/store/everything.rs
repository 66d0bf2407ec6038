//! All rows of the wing at once: what a development server forgets on request.

use wharfinger_blobs::BlobKey;
use wharfinger_db::{self as db, Tx, params};

use crate::store::parsed;

/// Removes every row; returns where the blobs lay. Ids are not used again.
pub(crate) fn remove(tx: &mut Tx<'_>) -> db::Result<Vec<BlobKey>> {
    let keys = tx.query("SELECT location FROM blobs", params![], |row| {
        parsed(row.text(0))
    })?;
    for statement in [
        "DELETE FROM uploads",
        "DELETE FROM image_references",
        "DELETE FROM tags",
        "DELETE FROM images",
        "DELETE FROM blob_links",
        "DELETE FROM blobs",
        "DELETE FROM repository_policies",
        "DELETE FROM repositories",
    ] {
        tx.execute(statement, params![])?;
    }
    Ok(keys)
}
