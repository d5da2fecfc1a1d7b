//! The domain's words: identifiers, sizes, amounts, positions in time, network parameters, manifests
//! and canonical dag-cbor.
//!
//! Everything here is a value. Nothing in this crate hashes content for trust, draws randomness, reads a
//! clock or does I/O; it refuses to know networks, disks and proofs. Other rooms name things with these
//! types so that a slot is never mistaken for a shard and a size never for an amount.
//!
//! ```
//! use hpips_types::{TokenAmount, Height};
//! let price = TokenAmount::from_coins(2);
//! assert_eq!(price.to_string(), "2.000000000");
//! assert_eq!(Height::new(7).next(), Height::new(8));
//! ```

mod macros;

pub mod amount;
pub mod cbor;
pub mod content;
pub mod hash;
pub mod id;
pub mod index;
pub mod manifest;
pub mod params;
pub mod time;

pub use amount::{ByteCount, TokenAmount};
pub use cid::Cid;
pub use hash::{Blake3Hash, FieldBytes, GroupKey, Sha256Digest, SignatureBytes, ThresholdSignature};
pub use id::{AccountId, ChainId, DealId, ProposalId, SetId, TxId};
pub use index::{ExtentIndex, RecordIndex, ShardIndex, SlotIndex, StripeIndex};
pub use manifest::{Code, Manifest};
pub use params::NetworkParams;
pub use time::{DayIndex, EpochIndex, Height, View, WindowIndex};
