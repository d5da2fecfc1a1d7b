//! The sending end of a piece or range.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::parcel::{GROUP_BYTES, encode, parcels};
use super::{BulkError, Outboard, PARCELS_AHEAD, RESUME, STALL};
use crate::wire::within;

/// Sends the piece in a file from where the receiver wants it. Returns the bytes of the piece that were sent.
/// Dropping the future cuts the transfer; the receiver keeps what it verified.
///
/// # Errors
/// [`BulkError::Cut`], [`BulkError::Range`], [`BulkError::File`].
pub async fn send_piece<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    path: &Path,
    outboard: &Arc<Outboard>,
) -> Result<u64, BulkError> {
    let mut head = [0; 8];
    within(RESUME, stream.read_exact(&mut head)).await.map_err(|source| BulkError::Cut { at: 0, source })?;
    let start = u64::from_le_bytes(head);
    let end = outboard.spec().bytes;
    if start > end || (start != end && start % GROUP_BYTES != 0) {
        return Err(BulkError::Range);
    }
    send_parcels(stream, path, outboard, start..end).await?;
    Ok(end - start)
}

/// Sends parcels; a thread reads and hashes ahead of the stream.
pub(super) async fn send_parcels<S: AsyncWrite + Unpin>(
    stream: &mut S,
    path: &Path,
    outboard: &Arc<Outboard>,
    range: Range<u64>,
) -> Result<(), BulkError> {
    let (sender, mut parcels_read) = mpsc::channel(PARCELS_AHEAD);
    let (path, outboard) = (path.to_owned(), outboard.clone());
    let whole = range.clone();
    // Ends by itself when this future is dropped: then the channel is closed.
    tokio::task::spawn_blocking(move || {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        for parcel in parcels(range) {
            let encoded = encode(&mut file, &outboard, &parcel);
            let failed = encoded.is_err();
            if sender.blocking_send(encoded.map(|encoded| (parcel, encoded))).is_err() || failed {
                return;
            }
        }
    });
    let mut at = whole.start;
    while at < whole.end {
        let read =
            parcels_read.recv().await.unwrap_or_else(|| Err(io::Error::other("the reading thread ended")));
        let (parcel, encoded) = read.map_err(BulkError::File)?;
        let len = u32::try_from(encoded.len()).expect("a parcel is little more than a MiB");
        let write = async {
            stream.write_all(&len.to_le_bytes()).await?;
            stream.write_all(&encoded).await
        };
        within(STALL, write).await.map_err(|source| BulkError::Cut { at, source })?;
        at = parcel.end;
    }
    within(STALL, stream.flush()).await.map_err(|source| BulkError::Cut { at, source })
}
