//! Sends ranges of held pieces back. Any peer may ask: what pieces are made of is public, as blocks are.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use hpips_net::bulk::{self, BulkError, Outboard};
use hpips_net::piece::{self, Accepted, Read, RefusalCode, Reply};
use hpips_types::{AccountId, ExtentIndex};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::crowd::{Crowd, Seat};
use crate::pieces::{Piece, PieceError};
use crate::serve::{No, no};

/// Ranges on their way at once, about 5 MiB of memory each; more are told to come again.
const READS: usize = 32;
/// Ranges of one peer at once, so that four peers are not enough to keep out all others.
const PER_PEER: usize = 6;
/// Hashes of pieces that stay in memory after a read, because whoever rebuilds reads a piece in many ranges: 2 MiB for
/// one of 496 MiB.
const OUTBOARDS: usize = 8;

/// Why a read ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the reader does not take the answer")]
    Send(#[from] hpips_net::FrameError),
    #[error("the reader takes nothing more")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("sending the range failed")]
    Bulk(#[from] BulkError),
    #[error("ending the stream failed")]
    End(#[from] std::io::Error),
    #[error("the piece cannot be read")]
    Piece(#[from] PieceError),
}

/// Who reads, and hashes of what was read last.
#[derive(Debug)]
pub(crate) struct Reads {
    all: Semaphore,
    crowd: Arc<Crowd>,
    outboards: Mutex<VecDeque<Arc<Outboard>>>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { all: Semaphore::new(READS), crowd: Crowd::new(PER_PEER), outboards: Mutex::default() }
    }
}

impl Reads {
    fn begin(&self, from: AccountId) -> Result<(SemaphorePermit<'_>, Seat), No> {
        let seat = self.crowd.seat(from).ok_or_else(|| no(RefusalCode::Busy, "you read too much at once"))?;
        let permit =
            self.all.try_acquire().map_err(|_| no(RefusalCode::Busy, "too many read at once; try again"))?;
        Ok((permit, seat))
    }

    /// The hashes of a piece. The file is read, and hashed where that was never done, on a thread of its own.
    async fn outboard(&self, piece: &Arc<Piece>) -> Result<Arc<Outboard>, PieceError> {
        let known = |all: &VecDeque<Arc<Outboard>>| {
            all.iter().find(|outboard| outboard.spec() == piece.spec()).cloned()
        };
        let found = known(&self.outboards.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(outboard) = found {
            return Ok(outboard);
        }
        let hashing = Arc::clone(piece);
        let made = tokio::task::spawn_blocking(move || hashing.outboard()).await;
        let made = Arc::new(made.expect("hashing does not panic")?);
        let mut outboards = self.outboards.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&outboards).is_none() {
            outboards.truncate(OUTBOARDS - 1);
            outboards.push_front(Arc::clone(&made));
        }
        Ok(made)
    }

    /// Forgets hashes that turned out not to fit their piece: they or the piece are damaged.
    fn forget(&self, piece: &Piece) {
        let mut outboards = self.outboards.lock().unwrap_or_else(PoisonError::into_inner);
        outboards.retain(|outboard| outboard.spec() != piece.spec());
        drop(outboards);
        piece.forget_outboard();
    }
}

/// Whether what is asked for is here. `extent`: that of the deal on the chain; `None` when there is no such deal.
pub(crate) fn find(
    piece: Option<Arc<Piece>>,
    extent: Option<ExtentIndex>,
    read: &Read,
) -> Result<Arc<Piece>, No> {
    let (Some(piece), Some(extent)) = (piece, extent) else {
        return Err(no(RefusalCode::NotFound, "no piece of this slot of an active deal lies here"));
    };
    if extent != read.extent {
        return Err(no(RefusalCode::Invalid, format!("the deal is about extent {extent}")));
    }
    if read.start >= read.end {
        return Err(no(RefusalCode::Invalid, "the range is empty or ends before it begins"));
    }
    if read.end > piece.meta.bytes {
        let reason = format!("the range ends behind the piece, which has {} bytes", piece.meta.bytes);
        return Err(no(RefusalCode::Invalid, reason));
    }
    Ok(piece)
}

/// Answers a request for a range, and sends it. A reader that takes nothing for [`bulk::STALL`] is given up.
pub(crate) async fn answer<S: AsyncWrite + Unpin>(
    reads: &Reads,
    from: AccountId,
    found: Result<Arc<Piece>, No>,
    range: Range<u64>,
    stream: &mut S,
) -> Result<(), ReadError> {
    let begun = found.and_then(|piece| Ok((piece, reads.begin(from)?)));
    let (piece, _turn) = match begun {
        Ok(begun) => begun,
        Err(refused) => return refuse(stream, refused).await,
    };
    let outboard = match reads.outboard(&piece).await {
        Ok(outboard) => outboard,
        Err(error) => {
            refuse(stream, no(RefusalCode::NotFound, "the piece cannot be read here")).await?;
            return Err(error.into());
        }
    };
    let accepted = Accepted { bytes: piece.meta.bytes, blake3: piece.meta.blake3 };
    timeout(bulk::STALL, piece::send(stream, &Reply::Accepted(accepted))).await??;
    if let Err(error) = bulk::send_range(stream, piece.path(), &outboard, range).await {
        if matches!(error, BulkError::File(_)) {
            reads.forget(&piece);
        }
        return Err(error.into());
    }
    Ok(timeout(bulk::STALL, stream.shutdown()).await??)
}

async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, refused: No) -> Result<(), ReadError> {
    timeout(bulk::STALL, piece::send(stream, &refused.into_reply())).await??;
    Ok(timeout(bulk::STALL, stream.shutdown()).await??)
}

#[cfg(test)]
mod tests;
