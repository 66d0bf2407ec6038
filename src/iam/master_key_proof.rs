//! The proof in the index that a master key is the one that sealed its secrets.

use wharfinger_base::Timestamp;

use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::seal::Seal;
use crate::store;

/// Compares the key file with the proof in the index; writes the proof where the index is new.
///
/// # Errors
/// [`Error::WrongMasterKey`].
pub(super) async fn prove(db: &IdentityDb, seal: &Seal, now: Timestamp) -> Result<(), Error> {
    const PROOF: &[u8] = b"wharfinger";
    let (id, proof) = (seal.key_id().to_owned(), seal.seal("master key", PROOF));
    let mut known = db.read(store::master_keys).await?;
    if known.is_empty() {
        // Two servers may start at once: the first proof stands, and both compare with it.
        known = db
            .note(move |tx| {
                if store::master_keys(tx)?.is_empty() {
                    store::insert_master_key(tx, &id, &proof, now)?;
                }
                store::master_keys(tx)
            })
            .await?;
    }
    let ours = known.iter().find(|(id, _)| id == seal.key_id());
    if ours.is_some_and(|(_, proof)| {
        seal.open("master key", proof)
            .is_ok_and(|text| text.reveal() == PROOF)
    }) {
        return Ok(());
    }
    let known = known
        .into_iter()
        .map(|(id, _)| id)
        .collect::<Vec<_>>()
        .join(", ");
    Err(Error::WrongMasterKey {
        known,
        found: seal.key_id().to_owned(),
    })
}
