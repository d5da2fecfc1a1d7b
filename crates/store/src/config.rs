//! What a store may use.

/// Limits of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Memory for the index's cache, bytes.
    pub cache_bytes: usize,
    /// A pack that reaches this length is closed and a new one begun, bytes.
    pub pack_bytes: u64,
    /// The index is made durable at least every so many bytes of new blocks. After a crash at most as many
    /// are read again; nothing is lost, because the packs are durable at once.
    pub index_lag_bytes: u64,
    /// As `index_lag_bytes`, counted in blocks: opening after a crash takes some 5 us for each.
    pub index_lag_blocks: usize,
    /// Bytes that all packs together may have; what would make them longer is refused. `u64::MAX` for no limit.
    pub bytes_max: u64,
    /// Pack, piece and user files kept open at most.
    pub open_files_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
            pack_bytes: 256 * 1024 * 1024,
            index_lag_bytes: 64 * 1024 * 1024,
            index_lag_blocks: 8 * 1024,
            bytes_max: u64::MAX,
            open_files_max: 128,
        }
    }
}
