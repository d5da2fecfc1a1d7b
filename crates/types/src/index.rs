//! Positions inside an object or a proving set, all from 0.

use crate::macros::integer;

integer! {
    /// A part of a very large object with pieces of its own.
    ExtentIndex(u32)
}
integer! {
    /// A stripe of an extent: `k` data and `n - k` parity shards coded together.
    StripeIndex(u32)
}
integer! {
    /// A shard of a stripe: below `k` data, from `k` up parity.
    ShardIndex(u16)
}
integer! {
    /// A slot of an object: all the shards one holder keeps, one a stripe.
    SlotIndex(u16)
}
integer! {
    /// A record (sealed sector or bundle) of a proving set.
    RecordIndex(u16)
}
