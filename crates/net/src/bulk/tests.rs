use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::parcel::GROUP_BYTES;
use super::*;

/// Deterministic bytes that compress to nothing and repeat nowhere.
fn noise(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    bytes
}

struct Piece {
    _dir: tempfile::TempDir,
    path: PathBuf,
    target: PathBuf,
    bytes: Vec<u8>,
    outboard: Arc<Outboard>,
}

fn piece(count: usize) -> Piece {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("piece");
    let bytes = noise(count);
    std::fs::write(&path, &bytes).unwrap();
    let outboard = Arc::new(Outboard::of_file(&path).unwrap());
    assert_eq!(outboard.spec().hash.as_bytes(), blake3::hash(&bytes).as_bytes());
    Piece { target: dir.path().join("target"), _dir: dir, path, bytes, outboard }
}

type Seen = Arc<Mutex<Vec<u8>>>;

fn sink() -> (Seen, impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static) {
    let seen = Seen::default();
    let copy = seen.clone();
    (seen, move |bytes: &[u8]| {
        copy.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    })
}

/// Copies what a sender writes until `cut` bytes went through, flipping a bit at `flip`.
async fn wire(mut from: DuplexStream, mut to: DuplexStream, cut: usize, flip: Option<usize>) {
    let mut head = [0; 8];
    if to.read_exact(&mut head).await.is_err() || from.write_all(&head).await.is_err() {
        return;
    }
    let mut passed = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let count = count.min(cut - passed);
        if let Some(at) = flip
            && (passed..passed + count).contains(&at)
        {
            buffer[at - passed] ^= 4;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed += count;
        if passed == cut {
            return;
        }
    }
}

async fn transfer(piece: &Piece, cut: usize, flip: Option<usize>) -> (Result<(), BulkError>, Vec<u8>) {
    let (mut sender, near) = tokio::io::duplex(1 << 16);
    let (far, mut receiver) = tokio::io::duplex(1 << 16);
    let (path, outboard) = (piece.path.clone(), piece.outboard.clone());
    let sending = tokio::spawn(async move { send_piece(&mut sender, &path, &outboard).await });
    let wire = tokio::spawn(wire(near, far, cut, flip));
    let (seen, sink) = sink();
    let outcome = receive_piece(&mut receiver, &piece.outboard.spec(), &piece.target, sink).await;
    drop(receiver);
    wire.await.unwrap();
    let _ = sending.await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (outcome.map(|_| ()), seen)
}

#[tokio::test]
async fn pieces_of_all_sizes_arrive() {
    for count in [0, 1, 1024, 16 * 1024, 16 * 1024 + 1, 1 << 20, (1 << 20) + 1, 3_456_789] {
        let piece = piece(count);
        let (outcome, seen) = transfer(&piece, usize::MAX, None).await;
        outcome.unwrap();
        assert!(seen == piece.bytes && std::fs::read(&piece.target).unwrap() == piece.bytes, "{count}");
    }
}

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_was() {
    let piece = piece(64 << 20);
    let mut starts = Vec::new();
    for cut in [10 << 20, 20 << 20, 25 << 20] {
        let (outcome, seen) = transfer(&piece, cut, None).await;
        let Err(BulkError::Cut { at, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(seen, piece.bytes[..seen.len()]);
        assert_eq!(at, seen.len() as u64);
        assert_eq!(std::fs::metadata(&piece.target).unwrap().len(), at);
        starts.push(at);
    }
    assert!(starts.is_sorted() && starts[2] > 50 << 20, "{starts:?}");
    let (outcome, seen) = transfer(&piece, usize::MAX, None).await;
    outcome.unwrap();
    assert!(seen == piece.bytes && std::fs::read(&piece.target).unwrap() == piece.bytes);
    // Once more, complete: nothing is sent, everything is seen.
    let (outcome, seen) = transfer(&piece, 0, None).await;
    outcome.unwrap();
    assert!(seen == piece.bytes);
}

#[tokio::test]
async fn a_flipped_bit_is_found_before_it_is_written() {
    let piece = piece(3 << 20);
    for flip in [4, 100, 5_000, 1 << 20, (2 << 20) + 77_777] {
        let _ = std::fs::remove_file(&piece.target);
        let (outcome, seen) = transfer(&piece, usize::MAX, Some(flip)).await;
        assert!(matches!(outcome, Err(BulkError::Wrong { .. })), "{flip}: {outcome:?}");
        assert_eq!(seen, piece.bytes[..seen.len()]);
        assert_eq!(std::fs::read(&piece.target).unwrap(), seen);
    }
}

#[tokio::test]
async fn a_damaged_partial_file_is_found_and_removed() {
    let piece = piece(3 << 20);
    let mut partial = piece.bytes[..2 << 20].to_vec();
    partial[1_500_000] ^= 1;
    std::fs::write(&piece.target, &partial).unwrap();
    let (outcome, _) = transfer(&piece, usize::MAX, None).await;
    assert!(matches!(outcome, Err(BulkError::Damaged)), "{outcome:?}");
    assert!(!piece.target.exists());
    transfer(&piece, usize::MAX, None).await.0.unwrap();
}

#[tokio::test]
async fn a_damaged_own_file_is_not_sent() {
    let piece = piece(2 << 20);
    let mut bytes = piece.bytes.clone();
    bytes[1_500_000] ^= 1;
    std::fs::write(&piece.path, bytes).unwrap();
    let (mut a, mut b) = tokio::io::duplex(1 << 23);
    b.write_all(&0u64.to_le_bytes()).await.unwrap();
    let outcome = send_piece(&mut a, &piece.path, &piece.outboard).await;
    assert!(matches!(outcome, Err(BulkError::File(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_long_parcel_is_refused_before_memory_is_taken() {
    let piece = piece(1 << 20);
    let (mut a, mut b) = tokio::io::duplex(1 << 16);
    a.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let (_, sink) = sink();
    let outcome = receive_piece(&mut b, &piece.outboard.spec(), &piece.target, sink).await;
    assert!(matches!(outcome, Err(BulkError::Cut { at: 0, .. })), "{:?}", outcome.map(|_| ()));
}

#[tokio::test]
async fn two_transfers_do_not_write_one_file() {
    let piece = piece(1 << 20);
    let file = std::fs::File::create(&piece.target).unwrap();
    file.try_lock().unwrap();
    let (outcome, _) = transfer(&piece, usize::MAX, None).await;
    assert!(matches!(outcome, Err(BulkError::Busy)), "{outcome:?}");
}

#[tokio::test]
async fn ranges_come_back_exactly() {
    let piece = piece(3_456_789);
    let end = piece.bytes.len() as u64;
    for range in [0..1, 0..end, 5..6, 16_383..16_385, 1_000_000..2_500_000, end - 1..end] {
        let (mut a, mut b) = tokio::io::duplex(1 << 16);
        let (path, outboard) = (piece.path.clone(), piece.outboard.clone());
        let asked = range.clone();
        let sending = tokio::spawn(async move { send_range(&mut a, &path, &outboard, asked).await });
        let mut got = Vec::new();
        let spec = piece.outboard.spec();
        receive_range(&mut b, &spec, range.clone(), |bytes| {
            got.extend_from_slice(bytes);
            Ok(())
        })
        .await
        .unwrap();
        sending.await.unwrap().unwrap();
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert!(got == piece.bytes[start..end], "{range:?}");
    }
    let (mut a, _b) = tokio::io::duplex(1 << 16);
    for range in [0..end + 1, 7..7, u64::MAX - GROUP_BYTES..u64::MAX] {
        let outcome = send_range(&mut a, &piece.path, &piece.outboard, range).await;
        assert!(matches!(outcome, Err(BulkError::Range)));
    }
}

#[test]
fn outboards_are_saved_and_loaded() {
    let piece = piece(1_234_567);
    let spec = piece.outboard.spec();
    let path = piece.target.with_extension("outboard");
    piece.outboard.save(&path).unwrap();
    assert_eq!(Outboard::load(&path, &spec).unwrap().spec(), spec);
    let other = Spec { bytes: spec.bytes + 1, ..spec };
    assert!(matches!(Outboard::load(&path, &other), Err(OutboardError::Foreign)));
    let other = Spec { hash: Blake3Hash::new([1; 32]), ..spec };
    assert!(matches!(Outboard::load(&path, &other), Err(OutboardError::Foreign)));
}
