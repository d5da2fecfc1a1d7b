use hpips_net::piece::Refused;
use hpips_proofs::PieceTree;
use hpips_types::content::{RAW, cid_v1};
use hpips_types::{Blake3Hash, DealId, SlotIndex};
use tokio::io::DuplexStream;

use super::*;
use crate::pieces::{Meta, PieceId, Pieces};

const EXTENT: ExtentIndex = ExtentIndex::ZERO;

struct Place {
    _folder: tempfile::TempDir,
    piece: Arc<Piece>,
    bytes: Vec<u8>,
}

/// A piece of four parcels, whose length is no multiple of anything.
fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 3_456_789 / 31 * 31];
    blake3::Hasher::new().update(b"piece").finalize_xof().fill(&mut bytes);
    let pieces = Pieces::open(folder.path().to_path_buf()).unwrap();
    let id = PieceId { deal: DealId::new(4), slot: SlotIndex::new(2) };
    std::fs::write(pieces.file(id).unwrap(), &bytes).unwrap();
    let tree = PieceTree::of(&bytes).unwrap();
    let meta = Meta {
        client: AccountId::new([1; 32]),
        bytes: bytes.len() as u64,
        blake3: Blake3Hash::new(*blake3::hash(&bytes).as_bytes()),
        comm_p: tree.comm_p(),
        manifest: cid_v1(RAW, b"m"),
        beside: Vec::new(),
        rows: Vec::new(),
    };
    let piece = pieces.finish(id, meta, tree).unwrap();
    Place { _folder: folder, piece, bytes }
}

fn read(start: u64, end: u64) -> Read {
    Read { deal: DealId::new(4), extent: EXTENT, slot: SlotIndex::new(2), start, end }
}

fn peer(number: u8) -> AccountId {
    AccountId::new([number; 32])
}

/// Asks as one peer, and takes what comes.
async fn ask(reads: &Reads, place: &Place, range: Range<u64>) -> (Result<(), ReadError>, Vec<u8>) {
    let (mut near, mut far) = tokio::io::duplex(1 << 16);
    let found = find(Some(Arc::clone(&place.piece)), Some(EXTENT), &read(range.start, range.end));
    let mut got = Vec::new();
    let taking = async {
        let Reply::Accepted(accepted) = piece::receive(&mut far).await.unwrap() else { panic!("refused") };
        let spec = bulk::Spec { hash: accepted.blake3, bytes: accepted.bytes };
        assert_eq!(spec, place.piece.spec());
        // What is cut short is seen by what was got.
        let _ = bulk::receive_range(&mut far, &spec, range.clone(), |bytes| {
            got.extend_from_slice(bytes);
            Ok(())
        })
        .await;
    };
    let sending = async {
        let outcome = answer(reads, peer(1), found, range.clone(), &mut near).await;
        drop(near);
        outcome
    };
    let (outcome, ()) = tokio::join!(sending, taking);
    (outcome, got)
}

async fn refusal(mut far: DuplexStream) -> Refused {
    match piece::receive(&mut far).await.unwrap() {
        Reply::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pieces_and_ranges_come_back_exactly() {
    let (place, reads) = (place(), Reads::default());
    let end = place.bytes.len() as u64;
    for range in [0..end, 0..1, 1_048_575..1_048_577, 500_000..3_200_001, end - 1..end] {
        let (outcome, got) = ask(&reads, &place, range.clone()).await;
        outcome.unwrap();
        let wanted = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(got == place.bytes[wanted], "{range:?}");
    }
    let kept = place.piece.path().with_file_name("outboard");
    assert!(kept.exists(), "the hashes are kept for the next start");
    assert_eq!(reads.outboards.lock().unwrap().len(), 1);
}

#[test]
fn what_is_not_here_is_refused_with_a_reason() {
    let place = place();
    let end = place.bytes.len() as u64;
    let here = || Some(Arc::clone(&place.piece));
    for (piece, extent, start, stop, code, reason) in [
        (None, Some(EXTENT), 0, 1, RefusalCode::NotFound, "no piece"),
        (here(), None, 0, 1, RefusalCode::NotFound, "active deal"),
        (here(), Some(ExtentIndex::new(1)), 0, 1, RefusalCode::Invalid, "extent 1"),
        (here(), Some(EXTENT), 7, 7, RefusalCode::Invalid, "empty"),
        (here(), Some(EXTENT), 8, 7, RefusalCode::Invalid, "before it begins"),
        (here(), Some(EXTENT), 0, end + 1, RefusalCode::Invalid, "behind the piece"),
        (here(), Some(EXTENT), u64::MAX - 1, u64::MAX, RefusalCode::Invalid, "behind the piece"),
    ] {
        let Reply::Refused(refused) = find(piece, extent, &read(start, stop)).unwrap_err().into_reply()
        else {
            panic!()
        };
        assert_eq!(refused.code, code, "{start}..{stop}");
        assert!(refused.reason.contains(reason), "{}", refused.reason);
        assert!(refused.signed.is_empty(), "a refusal to read closes nobody to draws");
    }
    assert!(find(here(), Some(EXTENT), &read(0, end)).is_ok());
}

#[tokio::test]
async fn reads_are_bounded_for_each_and_for_all() {
    let (place, reads) = (place(), Reads::default());
    let mut turns: Vec<_> = (0..PER_PEER).map(|_| reads.begin(peer(1)).unwrap()).collect();
    let found = || find(Some(Arc::clone(&place.piece)), Some(EXTENT), &read(0, 1));
    let (mut near, far) = tokio::io::duplex(1 << 16);
    answer(&reads, peer(1), found(), 0..1, &mut near).await.unwrap();
    let refused = refusal(far).await;
    assert_eq!((refused.code, refused.reason.as_str()), (RefusalCode::Busy, "you read too much at once"));
    for number in 2.. {
        while turns.len() < READS
            && let Ok(turn) = reads.begin(peer(number))
        {
            turns.push(turn);
        }
        if turns.len() == READS {
            break;
        }
    }
    let (mut near, far) = tokio::io::duplex(1 << 16);
    answer(&reads, peer(99), found(), 0..1, &mut near).await.unwrap();
    assert_eq!(refusal(far).await.code, RefusalCode::Busy);
    turns.clear();
    ask(&reads, &place, 0..1).await.0.unwrap();
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_its_turn_back() {
    let (place, reads) = (place(), Reads::default());
    for _ in 0..2 * READS {
        let (mut near, mut far) = tokio::io::duplex(1 << 12);
        let found = find(Some(Arc::clone(&place.piece)), Some(EXTENT), &read(0, 3_000_000));
        let leaving = async {
            let reply: Reply = piece::receive(&mut far).await.unwrap();
            assert!(matches!(reply, Reply::Accepted(_)), "{reply:?}");
            drop(far);
        };
        let (outcome, ()) = tokio::join!(answer(&reads, peer(1), found, 0..3_000_000, &mut near), leaving);
        assert!(matches!(outcome, Err(ReadError::Bulk(BulkError::Cut { .. }))), "{outcome:?}");
    }
    assert_eq!(reads.all.available_permits(), READS);
}

#[tokio::test]
async fn damage_is_not_sent_and_damaged_hashes_are_made_again() {
    let (place, reads) = (place(), Reads::default());
    let kept = place.piece.path().with_file_name("outboard");
    ask(&reads, &place, 0..1).await.0.unwrap();
    // Hashes that rotted.
    let mut hashes = std::fs::read(&kept).unwrap();
    let last = hashes.len() - 1;
    hashes[last] ^= 1;
    std::fs::write(&kept, &hashes).unwrap();
    let reads = Reads::default();
    let (outcome, _) = ask(&reads, &place, 0..3_000_000).await;
    assert!(matches!(outcome, Err(ReadError::Bulk(BulkError::File(_)))), "{outcome:?}");
    let (outcome, got) = ask(&reads, &place, 0..3_000_000).await;
    outcome.unwrap();
    assert!(got == place.bytes[..3_000_000]);
    // Bytes that rotted: what was hashed before is not sent, and then the piece is refused.
    let mut bytes = place.bytes.clone();
    bytes[2_000_000] ^= 1;
    std::fs::write(place.piece.path(), &bytes).unwrap();
    let (outcome, got) = ask(&reads, &place, 0..3_000_000).await;
    assert!(matches!(outcome, Err(ReadError::Bulk(BulkError::File(_)))), "{outcome:?}");
    assert!(got.len() <= 2_000_000 && got == place.bytes[..got.len()]);
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let found = find(Some(Arc::clone(&place.piece)), Some(EXTENT), &read(0, 1));
    let outcome = answer(&reads, peer(1), found, 0..1, &mut near).await;
    assert!(matches!(outcome, Err(ReadError::Piece(PieceError::Malformed(_)))), "{outcome:?}");
    assert_eq!(refusal(far).await.code, RefusalCode::NotFound);
}
