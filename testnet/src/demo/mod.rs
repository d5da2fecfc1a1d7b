//! The story of `hpips demo`: pledge, add, prove, lose two machines, read, repair, pay, mount.
//!
//! Every figure is measured in the run, every claim is checked here against bytes on disk and the chain's own
//! events; the story succeeds only when all of them hold. Whatever happens, nothing is left behind: the
//! network ends with its value, the folder is removed, and a [`Janitor`] does both when this process is
//! killed.

mod place;
mod story;
mod tell;
mod tree;
mod watch;

use std::path::PathBuf;

use serde::Serialize;

use crate::janitor::{Janitor, clean_up};
use crate::network::NetworkError;

pub use place::PlaceError;
pub use tell::Teller;
pub use tree::TreeError;

/// What to show.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// File or folder to store; `docs` of the current folder where absent.
    pub path: Option<PathBuf>,
    /// Folder to work in, made if it is missing; one of its own under the user's cache where absent.
    pub dir: Option<PathBuf>,
    /// Whether the network goes on afterwards.
    pub keep: bool,
    /// The program whose `daemon` and `janitor` are run.
    pub program: PathBuf,
}

/// Why the demo did not end well. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Nothing was started.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A node refused.
    #[error("{doing}")]
    Call {
        /// What it was asked.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: hpips_api::CallError,
    },
    /// Something did not happen in time.
    #[error(
        "{what} did not happen within {seconds} s. Is this machine busy, perhaps with another demo? Close it and try again"
    )]
    Late {
        /// What.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A check failed.
    #[error("check failed: {0}")]
    Check(String),
    /// Files differ, or cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The lines could not be written.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
    /// A signal came.
    #[error("interrupted; everything is cleaned up")]
    Interrupted,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Files stored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Root of the object.
    pub root: String,
    /// Bytes stored on the network.
    pub stored_bytes: u64,
    /// Holders killed.
    pub killed: Vec<usize>,
    /// Bytes computed from parity while reading without them.
    pub rebuilt_bytes: u64,
    /// How long reading took.
    pub read_ms: u64,
    /// Nodes that rebuilt the lost slots.
    pub repaired_by: Vec<usize>,
    /// From the kill to the last entry proof.
    pub repair_ms: u64,
    /// Of the days that closed, nano.
    pub revenue: u64,
    /// Nine tenths of it, nano.
    pub contributors: u64,
    /// One tenth of it, nano.
    pub coin_holders: u64,
    /// Files read through the mount; `None` where it was skipped.
    pub mounted_files: Option<u64>,
    /// All coins before and after, nano.
    pub coins: u64,
    /// Fines of nodes that were not killed, nano.
    pub honest_fines: u64,
    /// All of it.
    pub total_ms: u64,
    /// Where the network goes on, with `keep`.
    pub kept: Option<PathBuf>,
}

/// Shows the whole story.
///
/// # Errors
/// [`DemoError`] by variant; nothing is left behind then, whatever `keep` says.
pub async fn demo(options: &DemoOptions, teller: &mut Teller<'_>) -> Result<Facts, DemoError> {
    let mut interrupts = Interrupts::listen()?;
    let place = place::prepare(options)?;
    let janitor = Janitor::start(&options.program, &place.dir);
    let janitor = janitor.map_err(|source| PlaceError::Io { path: options.program.clone(), source })?;
    let told = tokio::select! {
        told = story::tell(options, &place, teller) => told,
        () = interrupts.next() => Err(DemoError::Interrupted),
    };
    let is_kept = matches!(&told, Ok(facts) if facts.kept.is_some());
    if !is_kept {
        let dir = place.dir.clone();
        // The network's value is gone by now and its nodes with it; this removes the mount and the folder.
        let _ = tokio::task::spawn_blocking(move || clean_up(&dir)).await;
    }
    let _ = tokio::task::spawn_blocking(move || janitor.finish()).await;
    told
}

/// The signals that end a demo.
struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
