//! Positions in time. Time is blocks, never a clock (DESIGN 7).

use crate::macros::integer;

integer! {
    /// Chain position of a block; genesis is 0.
    Height(u64)
}
integer! {
    /// An attempt of the consensus engine; every view has one leader and one threshold signature.
    View(u64)
}
integer! {
    /// The term of one committee.
    EpochIndex(u64)
}
integer! {
    /// A span of heights in which one proof a set falls due.
    WindowIndex(u64)
}
integer! {
    /// The settlement period.
    DayIndex(u64)
}

impl Height {
    /// This height and `blocks` more.
    ///
    /// # Panics
    /// On overflow of 64 bits.
    pub const fn plus(self, blocks: u64) -> Self {
        Self::new(self.get() + blocks)
    }
}
