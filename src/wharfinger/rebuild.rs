//! Makes a lost index anew from the blob store, in place of a server.

use wharfinger_base::Chain;
use wharfinger_blobs::RootLock;
use wharfinger_db::{Serving, ServingLock, Upgrade};
pub(crate) use wharfinger_registry::Rebuilt;

use crate::config::Config;
use crate::server;

/// What a command says that no longer keeps servers off the index.
pub(crate) const LOCK_LOST: &str = "the connection that keeps servers off the index is lost; run \
    it again to go on";

/// Makes the index anew, or goes on where an earlier run was interrupted. `progress` is called
/// after each transaction. With `accept_loss`, blobs are left out also where the store has none of
/// many.
///
/// # Errors
/// While a server serves the index or the blobs; where the index is not empty or the journal cannot
/// be read.
pub(crate) async fn run(
    config: Config,
    accept_loss: bool,
    progress: impl FnMut(Rebuilt),
) -> anyhow::Result<Rebuilt> {
    let serving = ServingLock::acquire(&config.data_dir, &config.database, Serving::Alone)?;
    let _blobs = RootLock::acquire(&config.blobs)?;
    // There is no server beside it: an index of an older version is brought up to date.
    let app = server::open(config, Upgrade::Apply).await?;
    app.registry.claim_blob_store(app.ids.uuid()).await?;
    let work = app.registry.rebuild().accepting_loss(accept_loss);
    let rebuilt = tokio::select! {
        rebuilt = work.run(progress) => rebuilt,
        () = serving.lost() => anyhow::bail!("{LOCK_LOST}"),
    };
    let rebuilt =
        rebuilt.map_err(|why| anyhow::anyhow!("the index was not made anew: {}", Chain(&why)))?;
    // Not before: the folder of an archive that is not mounted would become the archive.
    app.registry.claim_archive(app.ids.uuid()).await?;
    Ok(rebuilt)
}
