//! Files into the local store, pinned.

use std::path::Path;

use hpips_store::{PinKind, Store, WriteError};

use crate::client::Client;
use crate::import::{Added, ImportError, ImportOptions, ImportReport, import};
use crate::progress::{Reporter, Stage};

/// How something is added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// What decides the CIDs.
    pub import: ImportOptions,
    /// Name of the pin; empty takes the last part of the path.
    pub name: String,
}

/// What was added.
#[derive(Clone, Debug)]
pub struct AddedLocally {
    /// Root and counts.
    pub report: ImportReport,
    /// Everything in it, entries before their directory, as Kubo prints it.
    pub added: Vec<Added>,
}

/// Why nothing was added. Blocks that were stored before are collected with the next `repo gc`.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Reading or storing.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Pinning.
    #[error("cannot pin what was added")]
    Pin(#[from] WriteError),
    /// The task was stopped.
    #[error("adding was stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Adds a file or directory to a store and pins it recursively. Blocks for as long as reading takes.
///
/// # Errors
/// [`AddError`] by variant.
pub fn add_local(
    store: &Store,
    path: &Path,
    options: &AddOptions,
    report: &Reporter,
) -> Result<AddedLocally, AddError> {
    // Until the pin stands, nobody collects what is stored here.
    let _hold = store.hold()?;
    let mut done = 0u64;
    let mut added = Vec::new();
    let imported = import(
        path,
        &options.import,
        &mut |blocks| {
            done += blocks.iter().map(|block| block.bytes.len() as u64).sum::<u64>();
            store.put_built(blocks)?;
            report.at(Stage::Reading, done, 0);
            Ok(())
        },
        &mut |item| added.push(item),
    )?;
    let name = match &options.name {
        name if name.is_empty() => added.last().map_or("", |last| last.name.as_str()),
        name => name.as_str(),
    };
    store.pin(&imported.root, PinKind::Recursive, clip(name))?;
    Ok(AddedLocally { report: imported, added })
}

/// A pin's name has at most 255 bytes.
fn clip(name: &str) -> &str {
    let mut end = name.len().min(255);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

impl Client {
    /// As [`add_local()`], on a thread that may block.
    ///
    /// # Errors
    /// [`AddError`] by variant.
    pub async fn add_local(
        &self,
        path: &Path,
        options: AddOptions,
        report: &Reporter,
    ) -> Result<AddedLocally, AddError> {
        let (store, path, report) = (self.parts.store.clone(), path.to_owned(), report.clone());
        tokio::task::spawn_blocking(move || add_local(&store, &path, &options, &report)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_stored_and_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), vec![3; 100_000]).unwrap();
        let store = Store::open(folder.path().join("store"), hpips_store::Config::default()).unwrap();
        let added = add_local(&store, &path, &AddOptions::default(), &Reporter::none()).unwrap();
        assert_eq!(added.added.len(), 2);
        let pin = store.pin_of(&added.report.root).unwrap();
        assert_eq!((pin.kind, pin.name.as_str()), (PinKind::Recursive, "letters"));
        assert!(store.has(&added.report.root).unwrap());
    }

    #[test]
    fn long_names_are_clipped_between_characters() {
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"\u{e4}".repeat(200)).len(), 254);
    }
}
