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
//! | keep what is not pinned yet from being collected | [`Store::hold`] |
//! | read | [`Store::get`], [`Store::size`], [`Store::has`], or [`hpips_bitswap::BlockSource`] |
//! | keep things | [`Store::pin`], [`Store::update_pin`], [`Store::unpin`], [`Store::pins`], [`Store::set_files_root`] |
//! | ask what keeps a block | [`Store::kept_by`], [`Store::for_each_indirect`], [`Store::verify_pins`] |
//! | serve blocks out of a provider's piece file | [`Store::add_piece`], [`Store::remove_piece`] |
//! | serve blocks out of a user's file (`--nocopy`) | [`Store::add_user_files`], [`Store::for_each_lent`], [`Store::verify_lent`] |
//! | make room | [`Store::delete`], [`Store::collect_with`] |
//! | see how large it is | [`Store::stat`] |
//! | check everything, forget what is damaged | [`Store::verify_with`], [`Store::drop_damaged`] |
//! | bring an older store up to date | [`Store::migrate`] |
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
mod compact;
mod config;
mod error;
mod index;
mod journal;
mod kept;
mod layer;
mod lease;
mod lent;
mod lock;
mod marks;
mod open;
mod pack;
mod pieces;
mod pins;
mod read;
mod stat;
mod store;
mod tables;
mod transaction;
mod verify;
mod version;
mod write;

#[cfg(test)]
mod mocks;
#[cfg(test)]
mod tests;

pub use collect::CollectReport;
pub use config::Config;
pub use error::{IndexError, MarkError, NeededBy, OpenError, ReadError, WriteError};
pub use kept::{BadBlock, KeptBy};
pub use lease::Hold;
pub use lent::{LentBlock, LentStatus};
pub use pieces::{FileRow, PieceKey};
pub use pins::{OldPin, Pin, PinKind};
pub use stat::Stat;
pub use store::{BLOCK_BYTES_MAX, Store};
pub use tables::Kind as CopyKind;
pub use verify::{Damage, Fault, Missing, VerifyProgress, VerifyReport};
pub use version::{Migrated, VERSION};
