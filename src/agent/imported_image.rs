//! The pause image in a Docker Engine, known by its id.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::pause_image;
use crate::runtime::{ContainerRuntime, RuntimeError};

/// The image of the containers that hold namespaces, by its id: anybody who runs tasks could have
/// another image of its name pulled.
#[derive(Clone, Default)]
pub(crate) struct PauseImage(Arc<Mutex<Option<String>>>);

impl PauseImage {
    /// The id of the image, which is imported once by each process.
    pub(crate) async fn id(&self, runtime: &dyn ContainerRuntime) -> Result<String, RuntimeError> {
        let mut imported = self.0.lock().await;
        if let Some(id) = &*imported {
            return Ok(id.clone());
        }
        let host = runtime.info().await?;
        let archive = pause_image::archive(&host.architecture);
        let archive = archive.map_err(RuntimeError::Invalid)?;
        let (name, program) = (pause_image::NAME, pause_image::PROGRAM);
        let id = runtime.import_image(name, archive, program).await?;
        Ok(imported.insert(id).clone())
    }

    /// Has the image imported again: somebody removed it.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
