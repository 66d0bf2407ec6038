//! Named threads that are joined when their owner is dropped.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Threads that end by themselves once their queue is closed. Declare it after the queues in a
/// struct: fields are dropped in order, so the queues close first and the join then returns.
#[derive(Debug, Default)]
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub(super) fn start(
        &mut self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        self.0
            .push(Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let here = std::thread::current().id();
        for thread in self.0.drain(..) {
            // A job may hold the last handle on the index: its thread cannot wait for itself. A
            // panic was reported already.
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }
}
