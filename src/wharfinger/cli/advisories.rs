//! `wharfinger advisories`: the advisories that images are compared with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use url::Url;
use wharfinger_scanning::{Advisories, ImportResult, fetch_advisories};

use crate::app::App;
use crate::cli::admin::{self, NoArguments};
use crate::cli::configured::Configured;
use crate::cli::output::{aligned, say};

#[derive(Subcommand)]
pub(super) enum AdvisoriesCommand {
    /// Replace the advisories of a source by those of a file, a folder, a ZIP archive or a mirror,
    /// in OSV format
    Import(ImportArguments),
    /// Print the sources: name, number of advisories, time of the import
    List(NoArguments),
    /// Remove the advisories of a source
    Remove(RemoveArguments),
}

#[derive(Args)]
pub(super) struct ImportArguments {
    /// A JSON document, a folder, a ZIP archive, or an http(s) URL of a document or archive, such
    /// as <https://osv-vulnerabilities.storage.googleapis.com/Debian/all.zip>
    from: String,
    /// The source whose advisories are replaced. Default: PATH or URL as given
    #[arg(long)]
    source: Option<String>,
    #[command(flatten)]
    configured: Box<Configured>,
}

#[derive(Args)]
pub(super) struct RemoveArguments {
    /// The source, as `list` prints it
    source: String,
    #[command(flatten)]
    configured: Box<Configured>,
}

pub(super) fn run(command: AdvisoriesCommand) -> anyhow::Result<ExitCode> {
    match command {
        AdvisoriesCommand::Import(arguments) => {
            admin::run(*arguments.configured, async move |app| {
                let source = arguments.source.as_ref().unwrap_or(&arguments.from);
                import(app, source, &arguments.from).await
            })
        }
        AdvisoriesCommand::List(NoArguments { configured }) => admin::run(*configured, list),
        AdvisoriesCommand::Remove(arguments) => {
            admin::run(*arguments.configured, async move |app| {
                let removed = app.advisories.remove(&arguments.source).await?;
                anyhow::ensure!(removed, "there is no source of this name");
                Ok(app.advisories.clean().await?)
            })
        }
    }
}

async fn import(app: &App, source: &str, from: &str) -> anyhow::Result<()> {
    let url = Url::parse(from)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let result = match url {
        None => app.advisories.import(source, Path::new(from)).await,
        Some(url) => {
            let file = Download(
                app.config
                    .data_dir
                    .join(format!("import-{}", app.ids.uuid())),
            );
            fetch_advisories(url, &file.0)
                .await
                .context("the import changed nothing")?;
            app.advisories.import(source, &file.0).await
        }
    };
    let text = match result.context("the import changed nothing")? {
        ImportResult::Unchanged { advisories } => {
            format!("unchanged: {source} has these {advisories} advisories already\n")
        }
        ImportResult::Imported {
            documents,
            advisories,
        } => format!(
            "imported {advisories} advisories from {documents} documents; the others are \
             withdrawn or about no package that is compared\n"
        ),
    };
    clean(&app.advisories).await?;
    Ok(say(&text)?)
}

/// What a mirror sent, removed with this value.
struct Download(PathBuf);

impl Drop for Download {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn clean(advisories: &Advisories) -> anyhow::Result<()> {
    advisories
        .clean()
        .await
        .context("the advisories are in use; what they replace is still stored")
}

async fn list(app: &App) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for source in app.advisories.list().await? {
        let count = source.advisories.to_string();
        rows.push([source.imported_at.to_rfc3339(), count, source.name]);
    }
    Ok(say(&aligned(&rows))?)
}
