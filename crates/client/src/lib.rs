//! The client's road: files become blocks, blocks an object, the object a deal; and back.
//!
//! Read [`add`] first: it is the road of DESIGN 1, step by step. [`mod@import`] and [`mod@export`] are the local
//! ends of it and need neither network nor chain; they are what `hpips add --local`, `get` and `cat` use on a
//! repo without a daemon.
//!
//! | to do | use |
//! |---|---|
//! | add files, directories and streams to the local store, pinned | [`add_all`], [`add_local`], [`Client::add_local`] |
//! | know what storing a root on the network costs | [`Client::quote`] |
//! | store it; go on with it after a kill | [`Client::store`], [`Client::unfinished`] |
//! | blocks of any root: local store, holders, parity | [`Client::blocks`], [`Client::blocks_lazily`], a [`BlockGetter`] |
//! | resolve, list, read, write to disk | [`resolve`], [`list`], [`read`], [`export()`], on any [`BlockGetter`] |
//! | hand out as tar or gzip | [`pack`] |
//! | know how a stored object is | [`Client::status`] |
//! | change the mutable files (`hpips files`) | [`Files`] |
//! | end its deals | [`Client::end`] |
//!
//! ```no_run
//! # async fn road(client: hpips_client::Client, path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! use hpips_client::{AddOptions, Reporter, StoreOptions};
//!
//! let added = client.add_local(path, AddOptions::default(), &Reporter::none()).await?;
//! let quote = client.quote(added.report.root, &StoreOptions::of_windows(40)).await?;
//! // ... print the quote, ask ...
//! let stored = client.store(&quote, &Reporter::none()).await?;
//!
//! let blocks = client.blocks(quote.root).await?;
//! let target = std::path::PathBuf::from("copy");
//! let report = tokio::task::spawn_blocking(move || hpips_client::export(quote.root, &blocks, &target, &mut |_| {}));
//! report.await??;
//! # let _ = stored;
//! # Ok(())
//! # }
//! ```
//!
//! This room refuses to know providers' insides (they are another role), HTTP and terminals.
#![deny(unsafe_code)]

pub mod add;
pub mod archive;
pub mod blocks;
mod cache;
mod chainwatch;
mod client;
mod commitments;
mod encode;
pub mod export;
mod fetch;
pub mod files;
pub mod import;
mod lazy;
mod local;
mod object;
mod outgoing;
mod plan;
mod progress;
mod quote;
mod read;
mod slots;
mod stage;
mod status;
mod upload;
mod walk;

pub use add::{StoreError, Stored};
pub use archive::{GzipLevel, Packing, pack};
pub use blocks::{BlockGetter, GetBlockError};
pub use client::{Client, Parts};
pub use encode::EncodeError;
pub use export::{ExportError, ExportReport, export};
pub use fetch::{FetchOptions, FetchStats, NetBlocks};
pub use files::{Files, FilesError};
pub use import::{Added, Filter, ImportError, ImportOptions, ImportReport, Listener, import};
pub use lazy::LazyBlocks;
pub use local::{AddError, AddOptions, AddedLocally, Source, add_all, add_local};
pub use object::{ObjectError, ObjectPart};
pub use outgoing::CheckpointError;
pub use progress::{Progress, Reporter, Stage};
pub use quote::{Quote, QuoteError, StoreOptions};
pub use read::{ReadError, list, read, resolve};
pub use status::{EndError, ObjectStatus, SlotHealth, SlotStatus};
pub use walk::walk;
