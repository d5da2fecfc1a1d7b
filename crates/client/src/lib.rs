//! The client's road: files become blocks, blocks an object, the object a deal; and back.
//!
//! Read [`add`] first: it is the road of DESIGN 1, step by step. [`import`] and [`export`] are the local
//! ends of it and need neither network nor chain; they are what `hpips add --local`, `get` and `cat` use on a
//! repo without a daemon.
//!
//! This room refuses to know providers' insides (they are another role), HTTP and terminals.
#![deny(unsafe_code)]

pub mod blocks;
pub mod export;
pub mod import;

pub use blocks::{BlockGetter, GetBlockError};
pub use export::{ExportError, ExportReport, export};
pub use import::{Added, ImportError, ImportOptions, ImportReport, import};
