//! What is on its way out: piece files, and the check-point that says how far they are.
//!
//! ```text
//! outgoing/<root>/state              dag-cbor: see State
//!                 <extent>-<slot>    the piece
//! ```
//!
//! The chain says which proposals and deals there are; the check-point keeps what the chain does not know: the
//! terms that were chosen, what the pieces are, which receipts came.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hpips_ledger::SignedReceipt;
use hpips_proofs::Element;
use hpips_types::{Blake3Hash, Cid, Code, Height, TokenAmount, cbor};
use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: u8 = 1;
/// Longest check-point that is read, bytes: thousands of extents.
const STATE_BYTES_MAX: usize = 256 << 20;

/// Why a check-point cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a check-point of this program.
    #[error("{} is damaged: remove its folder to begin anew", .0.display())]
    Malformed(PathBuf),
}

/// A check-point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u8,
    /// The object.
    pub(crate) root: Cid,
    pub(crate) k: u16,
    pub(crate) n: u16,
    pub(crate) term_windows: u64,
    pub(crate) ask_max: TokenAmount,
    /// Height at which proposals were last handed out; they may still come into a block some time after it.
    pub(crate) proposed: Option<Height>,
    /// What was encoded; the piece files are complete on disk before this is written.
    pub(crate) encoded: Option<Encoded>,
    /// Receipts that came and hold.
    pub(crate) receipts: Vec<SignedReceipt>,
}

impl State {
    pub(crate) fn new(root: Cid, code: Code, term_windows: u64, ask_max: TokenAmount) -> Self {
        Self {
            version: VERSION,
            root,
            k: code.k(),
            n: code.n(),
            term_windows,
            ask_max,
            proposed: None,
            encoded: None,
            receipts: Vec::new(),
        }
    }

    /// Takes over what an earlier call did and what holds under the present terms: pieces depend on the code
    /// only, proposals under way and receipts are told apart by their numbers and heights.
    pub(crate) fn resume(&mut self, before: Self) {
        self.proposed = before.proposed;
        self.receipts = before.receipts;
        if (self.k, self.n) == (before.k, before.n) {
            self.encoded = before.encoded;
        }
    }

    pub(crate) fn code(&self) -> Option<Code> {
        Code::new(self.k, self.n)
    }
}

/// The pieces of all extents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Encoded {
    pub(crate) manifest: Cid,
    /// By extent and slot.
    pub(crate) pieces: Vec<Vec<PieceMark>>,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceMark {
    pub(crate) bytes: u64,
    pub(crate) blake3: Blake3Hash,
    /// Once it is computed.
    pub(crate) comm_p: Option<Element>,
}

/// An object on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    dir: PathBuf,
    pub(crate) state: State,
}

impl Outgoing {
    /// The check-point of a root, if there is one.
    pub(crate) fn find(outgoing: &Path, root: &Cid) -> Result<Option<Self>, CheckpointError> {
        let dir = outgoing.join(root.to_string());
        let path = dir.join("state");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Io { path, source }),
        };
        match cbor::decode::<State>(&bytes, STATE_BYTES_MAX) {
            Ok(state) if state.version == VERSION && state.root == *root && state.code().is_some() => {
                Ok(Some(Self { dir, state }))
            }
            _ => Err(CheckpointError::Malformed(path)),
        }
    }

    /// Begins: durable when it returns.
    pub(crate) fn begin(outgoing: &Path, state: State) -> Result<Self, CheckpointError> {
        let dir = outgoing.join(state.root.to_string());
        fs::create_dir_all(&dir).map_err(|source| CheckpointError::Io { path: dir.clone(), source })?;
        let begun = Self { dir, state };
        begun.save()?;
        Ok(begun)
    }

    /// Writes the check-point: temporary, sync, rename, sync of the folder.
    pub(crate) fn save(&self) -> Result<(), CheckpointError> {
        let path = self.dir.join("state");
        let temporary = self.dir.join("state.new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&cbor::encode(&self.state))?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| CheckpointError::Io { path: path.clone(), source })
    }

    /// The file of a piece.
    pub(crate) fn piece(&self, extent: usize, slot: usize) -> PathBuf {
        self.dir.join(format!("{extent}-{slot}"))
    }

    /// Whether all pieces that were encoded lie here in full.
    pub(crate) fn is_encoded(&self) -> bool {
        let Some(encoded) = &self.state.encoded else { return false };
        encoded.pieces.iter().enumerate().all(|(extent, pieces)| {
            pieces.iter().enumerate().all(|(slot, mark)| {
                fs::metadata(self.piece(extent, slot)).is_ok_and(|found| found.len() == mark.bytes)
            })
        })
    }

    /// Removes everything, the check-point first: whoever finds pieces without it begins anew.
    pub(crate) fn remove(&self) -> Result<(), CheckpointError> {
        let state = self.dir.join("state");
        let removed = match fs::remove_file(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir_all(&self.dir),
        };
        removed.map_err(|source| CheckpointError::Io { path: self.dir.clone(), source })
    }

    /// Roots with a check-point.
    pub(crate) fn all(outgoing: &Path) -> Result<Vec<Cid>, CheckpointError> {
        let fail = |source| CheckpointError::Io { path: outgoing.to_owned(), source };
        let entries = match fs::read_dir(outgoing) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(fail(source)),
        };
        let mut roots = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            if let Some(root) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && entry.path().join("state").exists()
            {
                roots.push(root);
            }
        }
        roots.sort_unstable();
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let root = hpips_types::content::cid_v1(hpips_types::content::RAW, b"root");
        State::new(root, Code::new(3, 6).unwrap(), 40, TokenAmount::new(7))
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let root = state().root;
        assert!(Outgoing::find(folder.path(), &root).unwrap().is_none());
        assert!(Outgoing::all(&folder.path().join("none")).unwrap().is_empty());
        let mut begun = Outgoing::begin(folder.path(), state()).unwrap();
        let mark = PieceMark { bytes: 3, blake3: Blake3Hash::new([1; 32]), comm_p: None };
        begun.state.encoded = Some(Encoded { manifest: root, pieces: vec![vec![mark]] });
        begun.state.proposed = Some(Height::new(9));
        begun.save().unwrap();
        assert!(!begun.is_encoded());
        fs::write(begun.piece(0, 0), "abc").unwrap();
        let again = Outgoing::find(folder.path(), &root).unwrap().unwrap();
        assert_eq!(again.state, begun.state);
        assert!(again.is_encoded());
        assert_eq!(Outgoing::all(folder.path()).unwrap(), [root]);
        again.remove().unwrap();
        assert!(Outgoing::find(folder.path(), &root).unwrap().is_none());
    }

    #[test]
    fn pieces_of_another_code_are_made_anew() {
        let mut before = state();
        before.proposed = Some(Height::new(9));
        before.encoded = Some(Encoded { manifest: before.root, pieces: Vec::new() });
        for (k, is_kept) in [(3, true), (2, false)] {
            let mut now = State::new(before.root, Code::new(k, 6).unwrap(), 80, TokenAmount::new(8));
            now.resume(before.clone());
            assert_eq!(
                (now.encoded.is_some(), now.proposed, now.term_windows),
                (is_kept, before.proposed, 80)
            );
        }
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let begun = Outgoing::begin(folder.path(), state()).unwrap();
        fs::write(begun.dir.join("state"), "garbage").unwrap();
        let found = Outgoing::find(folder.path(), &begun.state.root);
        assert!(matches!(found, Err(CheckpointError::Malformed(_))));
    }
}
