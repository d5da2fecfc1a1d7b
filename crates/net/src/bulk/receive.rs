//! The receiving end of a piece.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hpips_types::Blake3Hash;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::parcel::{ENCODED_BYTES_MAX, decode, parcels};
use super::{BulkError, PARCEL_BYTES, PARCELS_AHEAD, STALL, Spec};
use crate::wire::{FrameError, read_body, within};

/// Takes the bytes of a piece in order, on a blocking thread; what an earlier transfer left in the file comes
/// first. The place to compute a commitment.
pub trait PieceSink: Send + 'static {
    /// The next verified bytes.
    ///
    /// # Errors
    /// Any error ends the transfer.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl<F: FnMut(&[u8]) -> io::Result<()> + Send + 'static> PieceSink for F {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self(bytes)
    }
}

/// Receives a piece into a file, resuming what the file holds, and returns the sink when the piece is complete,
/// verified and synced to disk. The file is locked meanwhile.
///
/// Dropping the future keeps what was verified; so does [`BulkError::Cut`]. A sink is always fed from byte 0.
///
/// # Errors
/// [`BulkError`] by variant; after [`BulkError::Damaged`] the file is gone.
pub async fn receive_piece<S: AsyncRead + AsyncWrite + Unpin, K: PieceSink>(
    stream: &mut S,
    spec: &Spec,
    path: &Path,
    sink: K,
) -> Result<K, BulkError> {
    let (sender, encoded) = mpsc::channel(PARCELS_AHEAD);
    let (started, start) = oneshot::channel();
    let keeper = Keeper { spec: *spec, path: path.to_owned(), sink };
    let keeper = tokio::task::spawn_blocking(move || keeper.run(started, encoded));
    // The thread says where to begin, or has failed already.
    let mut cut = None;
    if let Ok(start) = start.await {
        let mut at = start;
        let fed = async {
            within(STALL, async {
                stream.write_all(&start.to_le_bytes()).await?;
                stream.flush().await
            })
            .await?;
            for parcel in parcels(start..spec.bytes) {
                let read = read_parcel(stream).await?;
                if sender.send(read).await.is_err() {
                    break;
                }
                at = parcel.end;
            }
            Ok(())
        };
        cut = fed.await.err().map(|source| BulkError::Cut { at, source });
    }
    drop(sender);
    match keeper.await {
        // The thread's own failure is the cause; a cut stream its consequence.
        Ok(Err(error)) if !matches!(error, BulkError::Cut { .. }) => Err(error),
        Ok(Ok(sink)) => Ok(sink),
        Ok(Err(BulkError::Cut { at, source })) => Err(match cut {
            Some(BulkError::Cut { source, .. }) => BulkError::Cut { at, source },
            _ => BulkError::Cut { at, source },
        }),
        Ok(Err(error)) => Err(error),
        Err(panic) => Err(BulkError::Sink(io::Error::other(panic))),
    }
}

pub(super) async fn read_parcel<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Bytes, FrameError> {
    within(STALL, async {
        let len = stream.read_u32_le().await?;
        if u64::from(len) > ENCODED_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a parcel over its limit"));
        }
        read_body(stream, usize::try_from(len).map_err(io::Error::other)?).await
    })
    .await
}

/// The thread that owns file and sink.
struct Keeper<K> {
    spec: Spec,
    path: PathBuf,
    sink: K,
}

impl<K: PieceSink> Keeper<K> {
    fn run(
        mut self,
        started: oneshot::Sender<u64>,
        mut encoded: mpsc::Receiver<Bytes>,
    ) -> Result<K, BulkError> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(BulkError::File)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BulkError::Busy),
            Err(TryLockError::Error(error)) => return Err(BulkError::File(error)),
        }
        let (start, mut hasher) = self.resume(&mut file)?;
        if started.send(start).is_err() {
            return Err(cut(start));
        }
        for parcel in parcels(start..self.spec.bytes) {
            let Some(encoded) = encoded.blocking_recv() else { return Err(cut(parcel.start)) };
            let Some(bytes) = decode(&self.spec, &parcel, &encoded) else {
                return Err(BulkError::Wrong { at: parcel.start });
            };
            file.write_all(&bytes).map_err(BulkError::File)?;
            if let Some(hasher) = &mut hasher {
                hasher.update(&bytes);
            }
            self.sink.take(&bytes).map_err(BulkError::Sink)?;
        }
        if let Some(hasher) = hasher
            && Blake3Hash::new(*hasher.finalize().as_bytes()) != self.spec.hash
        {
            std::fs::remove_file(&self.path).map_err(BulkError::File)?;
            return Err(BulkError::Damaged);
        }
        file.sync_all().map_err(BulkError::File)?;
        Ok(self.sink)
    }

    /// Feeds the sink from what the file holds, up to a whole parcel, and leaves the file's position there. A
    /// hasher comes back where something was held.
    fn resume(&mut self, file: &mut File) -> Result<(u64, Option<blake3::Hasher>), BulkError> {
        let held = file.metadata().map_err(BulkError::File)?.len();
        let start = if held >= self.spec.bytes { self.spec.bytes } else { held - held % PARCEL_BYTES };
        file.set_len(start).map_err(BulkError::File)?;
        file.seek(SeekFrom::Start(0)).map_err(BulkError::File)?;
        // An empty piece has no parcel that could prove its hash.
        if start == 0 && self.spec.bytes > 0 {
            return Ok((0, None));
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut left = start;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = file.read(&mut buffer[..most]).map_err(BulkError::File)?;
            if count == 0 {
                return Err(BulkError::File(io::ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(&buffer[..count]);
            self.sink.take(&buffer[..count]).map_err(BulkError::Sink)?;
            left -= count as u64;
        }
        Ok((start, Some(hasher)))
    }
}

fn cut(at: u64) -> BulkError {
    BulkError::Cut { at, source: FrameError::Io(io::ErrorKind::UnexpectedEof.into()) }
}
