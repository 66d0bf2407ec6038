//! `POST /_wharfinger/reset` of a development server: everything is as on its first start.

use axum::body::Body;
use http::{Response, StatusCode};

use wharfinger_api_core::response::text;

use crate::app::App;

/// Empties the registry, the orchestrator and the identities. The route exists under `--dev` only.
pub(super) async fn everything(app: &App) -> Response<Body> {
    match forget(app).await {
        Ok(()) => text(StatusCode::OK, "everything is gone"),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the state was not emptied");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the state was not emptied; the log says why",
            )
        }
    }
}

async fn forget(app: &App) -> anyhow::Result<()> {
    app.registry.reset().await?;
    app.orchestrator.reset().await?;
    let account = app.iam.account();
    Ok(app.iam.users().remove_everything(account).await?)
}
