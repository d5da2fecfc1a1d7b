//! A range of a piece, for repair and audit.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::parcel::{GROUP_BYTES, decode, parcels};
use super::receive::read_parcel;
use super::send::send_parcels;
use super::{BulkError, Outboard, Spec};
use crate::wire::FrameError;

/// The range widened to whole groups; `None` when the piece does not have it.
fn widen(range: &Range<u64>, bytes: u64) -> Option<Range<u64>> {
    if range.start >= range.end || range.end > bytes {
        return None;
    }
    let start = range.start - range.start % GROUP_BYTES;
    Some(start..range.end.next_multiple_of(GROUP_BYTES).min(bytes))
}

/// Sends a range of the piece in a file.
///
/// # Errors
/// [`BulkError::Range`] for a range the piece does not have, [`BulkError::Cut`], [`BulkError::File`].
pub async fn send_range<S: AsyncWrite + Unpin>(
    stream: &mut S,
    path: &Path,
    outboard: &Arc<Outboard>,
    range: Range<u64>,
) -> Result<(), BulkError> {
    let wide = widen(&range, outboard.spec().bytes).ok_or(BulkError::Range)?;
    send_parcels(stream, path, outboard, wide).await
}

/// Receives a range and hands its verified bytes on in order. Verification and `take` run on the calling task,
/// a millisecond or so a parcel.
///
/// # Errors
/// [`BulkError::Wrong`] when the peer lies, [`BulkError::Cut`], [`BulkError::Range`], [`BulkError::Sink`].
pub async fn receive_range<S: AsyncRead + Unpin>(
    stream: &mut S,
    spec: &Spec,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), BulkError> {
    let wide = widen(&range, spec.bytes).ok_or(BulkError::Range)?;
    for parcel in parcels(wide) {
        let cut = |source: FrameError| BulkError::Cut { at: parcel.start, source };
        let encoded = read_parcel(stream).await.map_err(cut)?;
        let bytes = decode(spec, &parcel, &encoded).ok_or(BulkError::Wrong { at: parcel.start })?;
        let first = usize::try_from(range.start.saturating_sub(parcel.start)).unwrap_or(usize::MAX);
        let last = usize::try_from(range.end.min(parcel.end) - parcel.start).unwrap_or(usize::MAX);
        let wanted = bytes.get(first..last).ok_or(BulkError::Range)?;
        take(wanted).map_err(BulkError::Sink)?;
    }
    Ok(())
}
