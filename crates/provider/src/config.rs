//! What a provider is told before it starts.

use std::path::PathBuf;

use hpips_types::TokenAmount;

/// Configuration of a [`crate::Provider`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for sectors and pieces; needs room for everything pledged.
    pub dir: PathBuf,
    /// What to pledge. `None` keeps what is on chain and pledges nothing new.
    pub target: Option<Target>,
    /// Bytes of disk that stay free whatever is asked for.
    pub reserve_bytes: u64,
    /// Memory that sealing may take. A sector of 512 MiB takes twice its size while it is sealed, eight at once
    /// little more time than one; one is sealed at a time in any case.
    pub sealing_memory_bytes: u64,
}

/// What sealing takes where nothing else is said: one sector of 512 MiB, or eight of 64 MiB.
pub const SEALING_MEMORY_BYTES: u64 = 3 << 29;

/// What a provider wants to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Bytes to seal, rounded down to whole sectors.
    pub sealed_bytes: u64,
    /// Bytes open for deals.
    pub open_bytes: u64,
    /// Nano per GiB and 720 windows.
    pub ask: TokenAmount,
    /// Coins that may be locked as collateral.
    pub collateral_max: TokenAmount,
    /// Who runs it.
    pub operator: String,
}
