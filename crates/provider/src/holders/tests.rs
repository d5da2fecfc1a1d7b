use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hpips_bitswap::{BlockSource, SourceError};
use hpips_erasure::manifest::read_index;
use hpips_erasure::{build, plan};
use hpips_net::bulk::Outboard;
use hpips_net::piece::{Accepted, Refused};
use hpips_net::{Config, Incoming, Stream};
use hpips_types::Code;
use hpips_types::content::{RAW, cid_v1};
use serde_bytes::ByteBuf;

use super::*;

const PROTOCOL: &str = "/hpips/test-holders/piece/1";
/// The slot that is lost.
const LOST: SlotIndex = SlotIndex::new(0);

/// How a holder behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Serves no ranges, but blocks.
    Old,
    /// Takes requests and says nothing.
    Silent,
    /// Accepts, and sends nothing.
    Slow,
    /// Says it has the piece, and sends others' bytes.
    Liar,
    /// Names another piece as this one.
    Foreign,
}

struct Blocks(HashMap<Cid, Bytes>);

impl BlockSource for Blocks {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        Ok(self.0.get(cid).map(|block| u32::try_from(block.len()).unwrap()))
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.get(cid).cloned())
    }
}

/// An object of 3 of 6 and its pieces on disk.
struct Object {
    folder: tempfile::TempDir,
    map: StripeMap,
    pieces: Vec<Vec<u8>>,
}

fn object() -> Object {
    let code = Code::new(3, 6).unwrap();
    let mut blocks = HashMap::new();
    let mut order = Vec::new();
    for number in 0..24u8 {
        let mut block = vec![0; 300_000 + usize::from(number)];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut block);
        order.push((cid_v1(RAW, &block), u32::try_from(block.len()).unwrap()));
        blocks.insert(order[usize::from(number)].0, Bytes::from(block));
    }
    let plan = plan(code, order[0].0, &[], order.iter().copied()).unwrap();
    let mut pieces = vec![Vec::new(); usize::from(code.n())];
    let built = build(&plan, &mut |cid| Ok::<_, std::io::Error>(blocks[cid].clone()), &mut |part| {
        let piece: &mut Vec<u8> = &mut pieces[usize::from(part.slot.get())];
        piece.extend_from_slice(part.bytes);
        piece.resize(piece.len() + part.padding, 0);
        Ok(())
    })
    .unwrap();
    let nodes: Vec<_> = built.index.iter().map(|(_, bytes)| read_index(bytes, code).unwrap()).collect();
    let map = StripeMap::new(code, &built.manifest.extents[0], &nodes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (slot, piece) in pieces.iter().enumerate() {
        std::fs::write(folder.path().join(slot.to_string()), piece).unwrap();
    }
    Object { folder, map, pieces }
}

impl Object {
    fn path(&self, slot: SlotIndex) -> PathBuf {
        self.folder.path().join(slot.get().to_string())
    }

    fn outboard(&self, slot: SlotIndex) -> Arc<Outboard> {
        Arc::new(Outboard::of_file(&self.path(slot)).unwrap())
    }

    /// What a holder serves by bitswap.
    fn blocks(&self, slot: SlotIndex) -> Blocks {
        let piece = Bytes::from(self.pieces[usize::from(slot.get())].clone());
        let rows = self.map.layout(slot).rows.into_iter().map(|row| {
            let start = usize::try_from(row.offset).unwrap();
            (row.cid, piece.slice(start..start + usize::try_from(row.bytes).unwrap()))
        });
        Blocks(rows.collect())
    }
}

/// Serves ranges of the piece in a file in one manner; counts the requests.
async fn hold(
    mut incoming: Incoming,
    (path, outboard, other): (PathBuf, Arc<Outboard>, Arc<Outboard>),
    manner: Manner,
    asked: Arc<AtomicUsize>,
) {
    let mut held = Vec::new();
    while let Some((_, mut stream)) = incoming.next().await {
        asked.fetch_add(1, Ordering::Relaxed);
        let Request::Read(read) = piece::receive(&mut stream).await.unwrap() else { panic!("no read") };
        if manner != Manner::Silent {
            // The reader may go away at any moment.
            let _ = send(&mut stream, read, (&path, &outboard, &other), manner).await;
        }
        held.push(stream);
    }
}

async fn send(
    stream: &mut Stream,
    read: Read,
    (path, outboard, other): (&std::path::Path, &Arc<Outboard>, &Arc<Outboard>),
    manner: Manner,
) -> Result<(), RangeError> {
    let spec = if manner == Manner::Foreign { other.spec() } else { outboard.spec() };
    let reply = match manner {
        Manner::Old => Reply::Refused(Refused {
            code: RefusalCode::NotFound,
            reason: "no ranges".into(),
            signed: ByteBuf::new(),
        }),
        _ => Reply::Accepted(Accepted { bytes: spec.bytes, blake3: spec.hash }),
    };
    piece::send(stream, &reply).await?;
    match manner {
        Manner::Honest => bulk::send_range(stream, path, outboard, read.start..read.end).await?,
        Manner::Liar => {
            let other_path = path.with_file_name(LOST.get().to_string());
            bulk::send_range(stream, &other_path, other, read.start..read.end).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Rebuilds the lost slot from holders of slots 1 to 5 with these manners. Returns the piece, when there is one, and how
/// often each holder was asked for a range.
async fn rebuild(object: &Object, seed: u8, manners: [Manner; 5]) -> (Option<Vec<u8>>, Vec<usize>) {
    let net = Net::start(Config::loopback([seed; 32]), Arc::new(Blocks(HashMap::new()))).await.unwrap();
    let other = object.outboard(LOST);
    let mut by_slot = BTreeMap::new();
    let mut nets = Vec::new();
    let mut counts = Vec::new();
    for (number, manner) in (1u8..).zip(manners) {
        let slot = SlotIndex::new(u16::from(number));
        // Only an old one serves blocks: whatever else comes, came as a range.
        let source = if manner == Manner::Old { object.blocks(slot) } else { Blocks(HashMap::new()) };
        let holder = Net::start(Config::loopback([seed + number; 32]), Arc::new(source)).await.unwrap();
        let outboard = object.outboard(slot);
        by_slot.insert(slot, Holder::new(holder.account(), outboard.spec()));
        let asked = Arc::new(AtomicUsize::new(0));
        let files = (object.path(slot), outboard, other.clone());
        tokio::spawn(hold(holder.accept(PROTOCOL).unwrap(), files, manner, asked.clone()));
        net.address_book(holder.account(), holder.listen_addrs()).await;
        net.connect(holder.account()).await.unwrap();
        nets.push(holder);
        counts.push(asked);
    }
    let deal = (DealId::new(1), ExtentIndex::ZERO);
    let mut holders = Holders::new(&net, PROTOCOL.into(), deal, by_slot, Duration::from_secs(2));
    holders.lay_out(&object.map);
    let mut piece = Vec::new();
    let mut is_whole = true;
    for stripe in object.map.stripes() {
        let want = object.map.shard_of_slot(stripe, LOST);
        if object.map.blocks(stripe, want).is_empty() {
            continue;
        }
        let Some(sources) = holders.sources(&object.map, stripe).await else {
            is_whole = false;
            break;
        };
        let given: Vec<_> = sources.iter().map(|(shard, bytes)| (*shard, bytes.as_slice())).collect();
        piece.extend(object.map.rebuild(stripe, &given, &[want]).unwrap().pop().unwrap());
        piece.resize(piece.len().next_multiple_of(31), 0);
    }
    let asked = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    (is_whole.then_some(piece), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_rebuilt_from_ranges_in_spite_of_two_bad_holders() {
    use Manner::{Foreign, Honest, Liar, Old, Silent, Slow};
    let object = object();
    let lost = &object.pieces[usize::from(LOST.get())];
    assert!(object.map.stripes().len() > 1);
    for (seed, manners) in [
        (10, [Honest; 5]),
        (20, [Old, Silent, Old, Silent, Honest]),
        (30, [Liar, Foreign, Honest, Honest, Honest]),
        (40, [Honest, Silent, Honest, Slow, Honest]),
    ] {
        let (piece, asked) = rebuild(&object, seed, manners).await;
        assert!(piece.as_ref() == Some(lost), "{manners:?}");
        for (manner, asked) in manners.iter().zip(&asked) {
            assert!(*manner == Honest || *asked <= 1, "{manners:?} {asked}: a bad one is asked once");
        }
        assert!(asked.iter().sum::<usize>() > 3, "{asked:?}");
    }
    // With three of five that give nothing it cannot be.
    let (piece, _) = rebuild(&object, 50, [Liar, Foreign, Liar, Honest, Honest]).await;
    assert!(piece.is_none());
}
