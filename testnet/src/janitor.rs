//! Cleans up behind a network's owner, also when that was killed.
//!
//! The janitor is a process of its own that waits for the owner's end of a pipe to close. Whatever ends the
//! owner closes it: then the janitor ends the network's nodes, frees the mount and removes the folder. An
//! owner that cleaned up itself leaves it nothing to do.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::network::STOP;
use crate::process::end_all;
use crate::state::State;

/// How long a mount or folder may resist.
const REMOVAL: Duration = Duration::from_secs(10);

/// The watching process; the pipe to it closes when this is dropped.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
}

impl Janitor {
    /// Starts `PROGRAM janitor DIR` over a folder.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(program: &Path, dir: &Path) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("janitor").arg(dir).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C at the terminal must not reach it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Self { child: command.spawn()? })
    }

    /// Lets it clean up, and waits until it has.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the janitor's process does: waits until standard input closes, then cleans up.
pub fn watch(dir: &Path) {
    let mut buffer = [0; 64];
    let mut input = std::io::stdin().lock();
    while matches!(input.read(&mut buffer), Ok(1..)) {}
    if !State::load(dir).is_ok_and(|state| state.is_kept) {
        clean_up(dir);
    }
}

/// Ends the processes of the network in a folder, frees its mount and removes the folder. Does nothing where
/// no network is. Returns whether the folder is gone.
pub fn clean_up(dir: &Path) -> bool {
    let deadline = Instant::now() + REMOVAL;
    loop {
        // Read again each time: an owner that was killed in the middle may have left a newer state.
        let Ok(state) = State::load(dir) else { return !dir.exists() };
        end_all(&state.processes(), STOP);
        if let Some(mount) = &state.mount {
            // Fails when nothing is mounted, which is as well.
            let _ = hpips_fuse::detach(mount);
        }
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            if let Some(around) = &state.around {
                // Not empty: another network, or somebody's files, which stay.
                let _ = fs::remove_dir(around);
            }
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Cleans up what owners that are gone left behind in a folder of networks, for example after the machine
/// lost power. Returns the folders removed.
pub fn sweep(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| State::load(path).is_ok_and(|state| !state.is_kept && !state.owner.is_running()))
        .filter(|path| clean_up(path))
        .collect()
}
