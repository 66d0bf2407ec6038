//! Whether a server may start on an index, beside the journal that the blob store has.

use crate::Registry;
use crate::journal::JournalError;
use crate::journal::writer::segments;
use crate::store::rebuild as store;

/// Why a server must not serve the index.
#[derive(Debug, thiserror::Error)]
pub enum JournalStartError {
    #[error(
        "this index is empty, and the blob store has the journal of another one. Run `wharfinger \
         rebuild-index` to make the lost index anew, or move `records/journal` of the store away \
         to begin with an empty index"
    )]
    LostIndex,
    #[error("a rebuild of this index was interrupted: run `wharfinger rebuild-index` again")]
    Unfinished,
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Registry {
    /// Checks that serving the index does not overwrite the journal that a lost one can be made
    /// anew from. For a server that starts.
    ///
    /// # Errors
    /// [`JournalStartError::LostIndex`], [`JournalStartError::Unfinished`].
    pub async fn check_journal(&self) -> Result<(), JournalStartError> {
        let content = &self.content;
        let read = content.db.read(|tx| {
            let is_new = store::is_empty(tx)? && store::is_unwritten(tx)?;
            Ok::<_, JournalError>((store::position(tx)?, is_new))
        });
        let (rebuild, is_new) = read.await?;
        if rebuild.is_some() {
            return Err(JournalStartError::Unfinished);
        }
        if is_new && !segments(&content.store).await?.is_empty() {
            return Err(JournalStartError::LostIndex);
        }
        Ok(())
    }
}
