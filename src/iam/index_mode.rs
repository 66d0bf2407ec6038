//! Records in the index whether it belongs to development servers only, so that no server under
//! `--dev`, which anybody may use and empty, opens an index with real images and users.

use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::store;

const SETTING: &str = "mode";
const DEVELOPMENT: &str = "development";
const PRODUCTION: &str = "production";

/// Claims the index for a server with or without `--dev`. A server without `--dev` may take over a
/// development index, which is a production index from then on.
///
/// # Errors
/// [`Error::NotDevIndex`] under `--dev` for an index that was served without it, or that holds
/// access keys and was never served.
pub(super) async fn claim(db: &IdentityDb, dev: bool) -> Result<(), Error> {
    db.note(move |tx| {
        let known = store::setting(tx, SETTING)?;
        let development = match known.as_deref() {
            Some(mode) => mode == DEVELOPMENT,
            None => !store::access_keys::any(tx)?,
        };
        if dev && !development {
            return Err(Error::NotDevIndex);
        }
        let mode = if dev { DEVELOPMENT } else { PRODUCTION };
        if known.as_deref() != Some(mode) {
            store::put_setting(tx, SETTING, mode)?;
        }
        Ok(())
    })
    .await
}
