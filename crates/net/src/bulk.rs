//! Pieces in bulk: every byte is verified against the piece's BLAKE3 before it is written or passed on.
//!
//! A transfer is a sequence of parcels, each at most [`PARCEL_BYTES`] of the piece with the hashes that lead
//! from it to the root (bao, chunk groups of 16 KiB). A parcel stands alone, so a transfer resumes wherever
//! the receiver's file ends, memory is a few parcels, and a wrong byte is found before the next parcel.
//!
//! ```text
//! receiver: u64 first byte wanted (little-endian)
//! sender:   u32 length, parcel   until the end of the piece or range
//! ```
//!
//! What the file holds from an earlier transfer is read again and hashed as a whole at the end: a tail that a
//! power cut damaged is found there, and the file is removed.

mod outboard;
mod parcel;
mod range;
mod receive;
mod send;

pub use outboard::{Outboard, OutboardError};
pub use range::{receive_range, send_range};
pub use receive::{PieceSink, receive_piece};
pub use send::send_piece;

use std::time::Duration;

use hpips_types::Blake3Hash;

/// Bytes of the piece in one parcel.
pub const PARCEL_BYTES: u64 = 1 << 20;
/// Parcels between the stream and the thread that verifies, or between the reading thread and the stream.
const PARCELS_AHEAD: usize = 4;
/// A peer that moves no parcel for so long has lost the transfer.
pub const STALL: Duration = Duration::from_secs(30);
/// Time the receiver has to take in again what it holds before it says where to go on; a commitment over
/// hundreds of MiB is computed meanwhile. A peer that dies closes the stream and is noticed at once.
pub const RESUME: Duration = Duration::from_secs(600);

/// Which bytes are transferred: agreed on before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// BLAKE3 of the piece.
    pub hash: Blake3Hash,
    /// Length of the piece, bytes.
    pub bytes: u64,
}

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The stream failed, ended or stood still. The same transfer may be tried again and goes on where it was.
    #[error("the transfer was cut at byte {at}")]
    Cut {
        /// Verified bytes so far.
        at: u64,
        /// What happened.
        #[source]
        source: crate::wire::FrameError,
    },
    /// The peer sent bytes that are not of this piece.
    #[error("the peer sent wrong bytes at {at}")]
    Wrong {
        /// Where the piece was verified up to.
        at: u64,
    },
    /// What an earlier transfer left in the file is damaged; the file was removed, the next transfer begins anew.
    #[error("the partial file was damaged and removed")]
    Damaged,
    /// Another transfer writes the same file.
    #[error("another transfer writes this file")]
    Busy,
    /// The peer asks for bytes behind the end, or the range is empty or not of this piece.
    #[error("a range that the piece does not have")]
    Range,
    /// The own file could not be read or written.
    #[error("the piece file failed")]
    File(#[source] std::io::Error),
    /// The caller's own consumer of bytes refused.
    #[error("taking in the bytes failed")]
    Sink(#[source] std::io::Error),
}

impl BulkError {
    /// Whether the same transfer may succeed when tried again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Cut { .. } | Self::Damaged | Self::Busy)
    }
}

#[cfg(test)]
mod tests;
