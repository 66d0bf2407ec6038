//! `POST /_wharfinger/reset` of a development server: everything is as on its first start.

use axum::body::Body;
use http::{Response, StatusCode};

use wharfinger_api_core::response::text;

use crate::app::App;

/// Users removed per read of the index.
const PAGE: usize = 100;

/// Empties registry and users. The route exists under `--dev` only.
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
    let (users, account) = (app.iam.users(), app.iam.account());
    loop {
        let page = users.list(account, None, PAGE).await?;
        if page.items.is_empty() {
            return Ok(());
        }
        for user in page.items {
            users.delete(account, &user.name).await?;
        }
    }
}
