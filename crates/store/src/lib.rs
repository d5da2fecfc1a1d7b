//! Blocks on disk: one index over pack files, piece files and users' own files.
//!
//! [`Store`] is a cheap handle. Its calls block the thread they run on, may come from any thread at once, and are
//! durable when they return: a killed process or a cut power line loses nothing that was acknowledged. Reads
//! go on while something writes; writers take turns. One process owns a store; a second one is told who does.
//!
//! The store refuses to know networks, deals and money. It knows blocks, the pins that keep them, and which
//! byte ranges of which files hold them.
//!
//! | to do | use |
//! |---|---|
//! | store blocks from outside (checked against their CIDs) | [`Store::put`] |
//! | store blocks this process has just built | [`Store::put_built`] |
//! | read | [`Store::get`], [`Store::size`], [`Store::has`], or [`hpips_bitswap::BlockSource`] |
//! | keep things | [`Store::pin`], [`Store::unpin`], [`Store::pins`], [`Store::set_files_root`] |
//! | serve blocks out of a provider's piece file | [`Store::add_piece`], [`Store::remove_piece`] |
//! | serve blocks out of a user's file (`--nocopy`) | [`Store::add_user_file`] |
//! | make room | [`Store::delete`], [`Store::collect`], with [`Store::hold`] for what is not pinned yet |
//! | check everything | [`Store::verify`] |
//!
//! Formats: docs/formats/store.md.
//!
//! ```
//! use hpips_store::{Config, PinKind, Store};
//! use hpips_types::content::{RAW, cid_v1};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = Store::open(dir.path(), Config::default())?;
//! let block = bytes::Bytes::from_static(b"hello world");
//! let cid = cid_v1(RAW, &block);
//! store.put(vec![(cid, block.clone())])?;
//! store.pin(&cid, PinKind::Recursive, "greeting")?;
//! assert_eq!(store.get(&cid)?, Some(block));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collect;
mod config;
mod error;
mod index;
mod journal;
mod layer;
mod lock;
mod open;
mod pack;
mod pieces;
mod pins;
mod read;
mod store;
mod tables;
mod verify;
mod write;

#[cfg(test)]
mod mocks;
#[cfg(test)]
mod tests;

pub use collect::{CollectReport, Hold};
pub use config::Config;
pub use error::{IndexError, OpenError, ReadError, WriteError};
pub use pieces::PieceKey;
pub use pins::{OldPin, Pin, PinKind};
pub use store::{BLOCK_BYTES_MAX, Store};
pub use verify::VerifyReport;
