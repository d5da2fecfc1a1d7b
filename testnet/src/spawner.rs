//! Starts child processes from one thread that lives as long as they may.
//!
//! On Linux a child may ask to be told when its parent dies, and the system then means the parent's
//! *thread*. A pool's thread comes and goes, so children are started from a thread kept for it.

use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

type Request = (Command, SyncSender<std::io::Result<Child>>);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Spawner {
    requests: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Spawner {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (requests, inbox) = sync_channel::<Request>(1);
        let thread = std::thread::Builder::new().name("spawner".into()).spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Starts a process.
    pub(crate) fn spawn(&self, command: Command) -> std::io::Result<Child> {
        let (reply, answer) = sync_channel(1);
        let requests = self.requests.as_ref().expect("taken only when dropped");
        let gone = |_| std::io::Error::other("the spawning thread ended");
        requests.send((command, reply)).map_err(|_| std::io::Error::other("the spawning thread ended"))?;
        answer.recv().map_err(gone)?
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
