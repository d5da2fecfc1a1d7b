//! How an object becomes shards, stripes, slots and pieces, and how what is lost comes back (DESIGN 5).
//!
//! Pure: blocks come through a function that the caller gives, pieces leave through another, and at no time
//! are the bytes of more than one stripe held. This crate knows nothing of providers, prices or networks.
//!
//! In reading order:
//!
//! - [`plan()`]: a list of blocks becomes shards and stripes; exact sizes before a byte is read;
//! - [`build()`]: encodes a plan, stripe by stripe, into the pieces of all slots and the [`Manifest`];
//! - [`manifest`]: reads manifests and index nodes from outside;
//! - [`StripeMap`]: what a manifest means: piece layouts, where a block lies, what to fetch for a rebuild;
//! - [`Coding`]: Reed-Solomon over one stripe.
//!
//! ```
//! use hpips_erasure::{Code, StripeMap, build, manifest, plan};
//! use hpips_types::content::{RAW, cid_v1};
//! use std::collections::HashMap;
//!
//! let blocks: Vec<Vec<u8>> = (0..9u8).map(|i| vec![i; 1000]).collect();
//! let by_cid: HashMap<_, _> = blocks.iter().map(|block| (cid_v1(RAW, block), block)).collect();
//! let list = blocks.iter().map(|block| (cid_v1(RAW, block), 1000));
//! let root = cid_v1(RAW, &blocks[0]);
//! let plan = plan(Code::new(3, 6).unwrap(), root, &[], list)?;
//!
//! let mut pieces = vec![Vec::new(); 6];
//! let built = build(
//!     &plan,
//!     &mut |cid| Ok::<_, std::io::Error>(by_cid[cid].clone().into()),
//!     &mut |part| {
//!         let piece = &mut pieces[usize::from(part.slot.get())];
//!         piece.extend_from_slice(part.bytes);
//!         piece.resize(piece.len() + part.padding, 0);
//!         Ok(())
//!     },
//! )?;
//! assert_eq!(pieces[0].len() as u64, plan.extents()[0].piece_bytes()[0]);
//!
//! let index = manifest::read_index(&built.index[0].1, plan.code())?;
//! let map = StripeMap::new(plan.code(), &built.manifest.extents[0], &[index])?;
//! let row = map.layout(map.locate(&root).unwrap().slot).rows[0];
//! assert_eq!(row.bytes, 1000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Manifest`]: hpips_types::Manifest

#![deny(unsafe_code)]

mod build;
mod coding;
mod field;
mod kernel;
pub mod manifest;
mod map;
mod plan;
mod product;

pub use build::{BuildError, Built, Part, build};
pub use coding::{Coding, RebuildError};
pub use map::{Location, MapError, PieceLayout, PieceRow, StripeMap};
pub use plan::{ExtentPlan, Limits, Plan, PlanError, plan, plan_within};

pub use hpips_types::Code;

use hpips_types::{ShardIndex, SlotIndex, StripeIndex};

/// Bytes of piece in one field element of its commitment; shards begin at multiples of it.
pub const ELEMENT_BYTES: u64 = 31;
/// Coding lengths are multiples of this, for the sake of vector kernels.
pub const CODED_UNIT: u32 = 64;

/// Most bytes of a piece: a tree of 8^8 elements, the largest that proofs know.
pub const PIECE_BYTES_MAX: u64 = ELEMENT_BYTES << 24;

/// The slot that holds a shard. Shards rotate by stripe, so that data and load spread evenly.
///
/// # Panics
/// When the shard is outside the code.
pub fn slot_of(code: Code, stripe: StripeIndex, shard: ShardIndex) -> SlotIndex {
    assert!(shard.get() < code.n(), "shard outside the code");
    let n = u32::from(code.n());
    SlotIndex::new(narrow((u32::from(shard.get()) + stripe.get() % n) % n))
}

/// The shard of a stripe that a slot holds: the inverse of [`slot_of`].
///
/// # Panics
/// When the slot is outside the code.
pub fn shard_in(code: Code, stripe: StripeIndex, slot: SlotIndex) -> ShardIndex {
    assert!(slot.get() < code.n(), "slot outside the code");
    let n = u32::from(code.n());
    ShardIndex::new(narrow((u32::from(slot.get()) + n - stripe.get() % n) % n))
}

/// Rounds up to the element boundary at which the next shard of a piece begins.
pub(crate) const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ELEMENT_BYTES)
}

fn narrow(below_n: u32) -> u16 {
    u16::try_from(below_n).expect("below the number of shards")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_and_its_inverse() {
        let code = Code::new(3, 7).unwrap();
        for stripe in (0..20).chain(u32::MAX - 3..=u32::MAX).map(StripeIndex::new) {
            let mut seen = Vec::new();
            for shard in (0..7).map(ShardIndex::new) {
                let slot = slot_of(code, stripe, shard);
                assert_eq!(shard_in(code, stripe, slot), shard);
                assert_eq!(u64::from(slot.get()), (u64::from(shard.get()) + u64::from(stripe.get())) % 7);
                seen.push(slot);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..7).map(SlotIndex::new).collect::<Vec<_>>());
        }
    }
}
