//! `wharfinger advisories`: the advisories that images are compared with.

use std::path::PathBuf;
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
    /// The source whose advisories are replaced. Default: the path as given, or the URL without
    /// user, query and fragment
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
                let place = Place::of(&arguments.from)?;
                let source = arguments.source.unwrap_or_else(|| place.source());
                import(app, &source, place).await
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

/// Where the documents are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Mirror(Url),
}

impl Place {
    /// Parses an argument. The error does not repeat a URL, which may have a password or a token.
    fn of(argument: &str) -> anyhow::Result<Self> {
        match Url::parse(argument) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Mirror(url)),
            Err(error) if argument.contains("://") => Err(error).context("the URL is malformed"),
            Ok(_) if argument.contains("://") => anyhow::bail!("the URL is none of http or https"),
            _ => Ok(Self::File(argument.into())),
        }
    }

    /// The name of the source where none is given. It is stored and printed: a URL has no user,
    /// query or fragment in it.
    fn source(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Mirror(url) => {
                let mut url = url.clone();
                // An http(s) URL has a host, without which these fail.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
        }
    }
}

async fn import(app: &App, source: &str, place: Place) -> anyhow::Result<()> {
    let result = match place {
        Place::File(path) => app.advisories.import(source, &path).await,
        Place::Mirror(url) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_the_name_of_its_place_without_secrets() {
        let source = |argument: &str| Place::of(argument).expect("a place").source();
        let secret = "https://user:hidden@mirror.example:8443/a/all.zip?token=hidden#hidden";
        assert_eq!(source(secret), "https://mirror.example:8443/a/all.zip");
        let plain = "https://mirror.example/Debian/all.zip";
        assert_eq!(source(plain), plain);
        for path in ["/srv/all.zip", "all.zip", "folder", "a:b"] {
            assert_eq!(source(path), path);
        }
    }

    #[test]
    fn errors_do_not_repeat_a_url() {
        for url in [
            "https://user:hidden@mirror.example:port/",
            "https://user:hidden@/",
            "ftp://user:hidden@mirror.example/all.zip",
        ] {
            let error = Place::of(url).expect_err("no place");
            let text = format!("{error:#}");
            assert!(!text.contains("hidden") && !text.contains("user"), "{text}");
        }
    }
}
