//! The agent's state on disk: the registration of the instance, and a file for each task.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::blocking::blocking;
use crate::record::TaskRecord;

/// Files of tasks end so.
const EXTENSION: &str = "json";

/// What an instance knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceRecord {
    pub(crate) cluster: String,
    pub(crate) instance_arn: String,
    /// The timeline of the last task manifest.
    #[serde(default)]
    pub(crate) manifest_timeline: i64,
    /// The port of the endpoints for tasks in the host's network; 0 before the first start.
    #[serde(default)]
    pub(crate) endpoints_port: u16,
    /// The number of the last payload.
    #[serde(default)]
    pub(crate) sequence_number: i64,
    /// Earlier instances of this folder whose containers may not all be removed, by ARN.
    #[serde(default)]
    pub(crate) former: BTreeSet<String>,
}

/// The folder of one instance:
///
/// ```text
/// instance.json       its registration
/// tasks/<id>.json     a task, with credentials: for the owner alone
/// logs/<id>.json      how far the output of a container has been shipped
/// images.json         when images were pulled
/// ```
#[derive(Clone, Debug)]
pub(crate) struct StateFolder {
    root: PathBuf,
}

impl StateFolder {
    /// Opens the folder and makes what is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn open(root: &Path) -> io::Result<Self> {
        let root = root.to_owned();
        blocking(move || {
            for folder in ["tasks", "logs"] {
                fs::create_dir_all(root.join(folder))?;
            }
            Ok(Self { root })
        })
        .await
    }

    /// The registration; `None` before the first.
    ///
    /// # Errors
    /// Those of the file system, and a file that cannot be read.
    pub(crate) async fn instance(&self) -> io::Result<Option<InstanceRecord>> {
        read(self.root.join("instance.json")).await
    }

    /// Stores the registration.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn set_instance(&self, record: &InstanceRecord) -> io::Result<()> {
        write(self.root.join("instance.json"), record).await
    }

    /// All tasks. A file that cannot be read is reported and left out.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn tasks(&self) -> io::Result<Vec<TaskRecord>> {
        let folder = self.root.join("tasks");
        blocking(move || read_tasks(&folder)).await
    }

    /// Stores the record of a task, as JSON. It is on the disk when this returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn set_task(&self, id: &str, record: Vec<u8>) -> io::Result<()> {
        let path = self.task_path(id);
        blocking(move || replace(&path, &record)).await
    }

    /// Forgets a task. A missing one is fine.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn remove_task(&self, id: &str) -> io::Result<()> {
        remove(self.task_path(id)).await
    }

    /// When each image was pulled the last time; `None` before the first.
    ///
    /// # Errors
    /// Those of the file system, and a file that cannot be read.
    pub(crate) async fn images(&self) -> io::Result<Option<BTreeMap<String, Timestamp>>> {
        read(self.root.join("images.json")).await
    }

    /// Stores when each image was pulled the last time.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn set_images(&self, pulled: &BTreeMap<String, Timestamp>) -> io::Result<()> {
        write(self.root.join("images.json"), pulled).await
    }

    /// How far the output of a container has been shipped.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn log_position<T>(&self, id: &str) -> io::Result<Option<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        read(self.log_path(id)).await
    }

    /// Stores how far the output of a container has been shipped.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn set_log_position<T: Serialize>(
        &self,
        id: &str,
        position: &T,
    ) -> io::Result<()> {
        write(self.log_path(id), position).await
    }

    /// Forgets a position. A missing one is fine.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn remove_log_position(&self, id: &str) -> io::Result<()> {
        remove(self.log_path(id)).await
    }

    fn task_path(&self, id: &str) -> PathBuf {
        self.root.join("tasks").join(file_name(id))
    }

    fn log_path(&self, id: &str) -> PathBuf {
        self.root.join("logs").join(file_name(id))
    }
}

/// The file of an id. Ids are letters and digits; nothing else may reach the file system.
fn file_name(id: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = id.chars().filter(|c| safe(*c)).collect();
    format!("{name}.{EXTENSION}")
}

fn read_tasks(folder: &Path) -> io::Result<Vec<TaskRecord>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ext| ext != EXTENSION) {
            continue;
        }
        match parse(&path) {
            Ok(record) => found.extend(record),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a task was not read");
            }
        }
    }
    Ok(found)
}

async fn read<T: DeserializeOwned + Send + 'static>(path: PathBuf) -> io::Result<Option<T>> {
    blocking(move || parse(&path)).await
}

async fn write<T: Serialize>(path: PathBuf, value: &T) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    blocking(move || replace(&path, &text)).await
}

async fn remove(path: PathBuf) -> io::Result<()> {
    blocking(move || match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
    .await
}

fn parse<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(io::Error::other)
}

/// Replaces a file: a reader, or a crash, finds the old or the new text.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Ids;
    use wharfinger_ecs_protocol::Task;

    use super::*;

    #[tokio::test]
    async fn records_are_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path()).await.expect("opened");
        assert_eq!(state.instance().await.expect("read"), None);
        let instance = InstanceRecord {
            cluster: "demo".to_owned(),
            instance_arn: "arn".to_owned(),
            ..InstanceRecord::default()
        };
        state.set_instance(&instance).await.expect("written");
        let task = Task {
            arn: "arn:aws:ecs:us-east-1:1:task/demo/0a1b".to_owned(),
            ..Task::default()
        };
        let record = TaskRecord::new(task, &Ids::seeded(1));
        let text = serde_json::to_vec(&record).expect("JSON");
        state.set_task(record.id(), text).await.expect("written");
        std::fs::write(folder.path().join("tasks/broken.json"), "{").expect("written");
        let state = StateFolder::open(folder.path()).await.expect("opened");
        assert_eq!(state.instance().await.expect("read"), Some(instance));
        let tasks = state.tasks().await.expect("read");
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].id(), "0a1b");
        state.remove_task("0a1b").await.expect("removed");
        state
            .remove_task("0a1b")
            .await
            .expect("a missing one is fine");
        assert!(state.tasks().await.expect("read").is_empty());
    }

    #[test]
    fn an_id_cannot_leave_its_folder() {
        assert_eq!(file_name("../../etc/passwd"), "etcpasswd.json");
    }
}
