use std::path::Path;

use hpips_dag::Tree;
use hpips_net::{Config, NoBlocks};
use hpips_types::Code;

use super::*;
use crate::export::export;
use crate::outgoing::{Outgoing, State as Checkpoint};
use crate::progress::Reporter;
use crate::{AddOptions, add_local};

/// A network of holders that have one slot each, and a reader that has nothing.
struct Holders {
    folder: tempfile::TempDir,
    root: Cid,
    nets: Vec<Net>,
    reader: Net,
    store: Store,
    part: ObjectPart,
}

fn store(path: &Path) -> Store {
    Store::open(path, hpips_store::Config::default()).unwrap()
}

/// Bytes that repeat nowhere.
fn noise(count: usize) -> Vec<u8> {
    let mut draw = hpips_crypto::draw::Draw::new("hpips/client/test/v1", &[]);
    (0..count.div_ceil(8)).flat_map(|_| draw.u64().to_le_bytes()).take(count).collect()
}

impl Holders {
    async fn of(code: Code) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        for (index, bytes) in [5_300_000, 10, 900_000, 2_000_000].into_iter().enumerate() {
            std::fs::write(source.join(format!("file-{index}")), &noise(bytes + index)[index..]).unwrap();
        }
        let owner = store(&folder.path().join("owner"));
        let added = add_local(&owner, &source, &AddOptions::default(), &Reporter::none()).unwrap();
        let root = added.report.root;
        let blocks = crate::plan::list_blocks(&owner, root).unwrap();
        let plan = hpips_erasure::plan(code, root, &[], blocks).unwrap();
        let state = Checkpoint::new(root, code, 4, hpips_types::TokenAmount::new(1));
        let outgoing = Outgoing::begin(folder.path(), state).unwrap();
        let encoded = crate::encode::encode(&plan, &owner, &outgoing, &Reporter::none()).unwrap();
        let manifest = owner.get(&encoded.manifest).unwrap().unwrap();
        let manifest = hpips_erasure::manifest::read_manifest(&manifest).unwrap();
        let extent = &manifest.extents[0];
        let nodes: Vec<_> = extent
            .index
            .iter()
            .map(|cid| hpips_erasure::manifest::read_index(&owner.get(cid).unwrap().unwrap(), code).unwrap())
            .collect();
        let map = StripeMap::new(code, extent, &nodes).unwrap();
        let reader = Net::start(Config::loopback([200; 32]), Arc::new(NoBlocks)).await.unwrap();
        let mut nets = Vec::new();
        for slot in 0..code.n() {
            let own = store(&folder.path().join(format!("holder-{slot}")));
            let key = hpips_store::PieceKey { deal: DealId::new(1), slot: SlotIndex::new(slot) };
            let layout = map.layout(SlotIndex::new(slot));
            let rows: Vec<_> = layout.rows.iter().map(|row| (row.cid, row.offset, row.bytes)).collect();
            own.add_piece(key, &outgoing.piece(0, usize::from(slot)), &rows).unwrap();
            let seed = [u8::try_from(slot).unwrap() + 1; 32];
            let net = Net::start(Config::loopback(seed), Arc::new(own)).await.unwrap();
            reader.address_book(net.account(), net.listen_addrs()).await;
            reader.connect(net.account()).await.unwrap();
            nets.push(net);
        }
        let holders = nets.iter().map(|net| Some(net.account())).collect();
        let part = ObjectPart { deal: DealId::new(1), map, holders };
        let store = store(&folder.path().join("reader"));
        Self { folder, root, nets, reader, store, part }
    }

    async fn kill(&self, slots: &[usize]) {
        for slot in slots {
            self.nets[*slot].shutdown().await;
        }
        while slots.iter().any(|slot| self.reader.is_connected(&self.nets[*slot].account())) {
            tokio::task::yield_now().await;
        }
    }

    fn blocks(&self, options: FetchOptions) -> NetBlocks {
        NetBlocks::new(&self.reader, &self.store, vec![self.part.clone()], options)
    }

    /// Reads everything and compares it with the source.
    async fn check(&self, blocks: &NetBlocks, name: &str) -> FetchStats {
        let (root, getter, target) = (self.root, blocks.clone(), self.folder.path().join(name));
        let to = target.clone();
        tokio::task::spawn_blocking(move || export(root, &getter, &to, &mut |_| {})).await.unwrap().unwrap();
        for file in std::fs::read_dir(self.folder.path().join("source")).unwrap() {
            let file = file.unwrap();
            let read = std::fs::read(target.join(file.file_name())).unwrap();
            assert!(read == std::fs::read(file.path()).unwrap(), "{:?}", file.file_name());
        }
        blocks.stats()
    }

    async fn close(self) {
        for net in self.nets.iter().chain([&self.reader]) {
            net.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_with_n_minus_k_holders_dead() {
    let holders = Holders::of(Code::new(3, 6).unwrap()).await;
    let alive = holders.check(&holders.blocks(FetchOptions::default()), "all-alive").await;
    assert_eq!((alive.rebuilt_bytes, alive.local_bytes, alive.holders), (0, 0, 6));
    holders.kill(&[1, 4, 5]).await;
    let blocks = holders.blocks(FetchOptions { keep: true, ..FetchOptions::default() });
    let dead = holders.check(&blocks, "three-dead").await;
    assert!(dead.rebuilt_bytes > 0 && dead.holders == 3, "{dead:?}");
    // Nothing twice: at most as many shards of each stripe as restore it.
    let map = &holders.part.map;
    let stripes = map.stripes().map(|stripe| map.stripe(stripe));
    let enough: u64 = stripes.map(|stripe| stripe.data.len() as u64 * u64::from(stripe.coded_bytes)).sum();
    assert!(dead.fetched_bytes <= enough, "{dead:?}, {enough} are enough");
    // What was kept needs no network.
    blocks.flush().unwrap();
    let local = crate::blocks::Local(holders.store.clone());
    let mut count = 0;
    crate::walk::walk::<_, crate::ReadError>(Tree::new(holders.root), &local, |_| {
        count += 1;
        Ok(())
    })
    .unwrap();
    assert!(count > 4);
    holders.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holder_too_few_says_how_many_answer() {
    let holders = Holders::of(Code::new(2, 3).unwrap()).await;
    holders.kill(&[0, 2]).await;
    let options = FetchOptions { deadline: Duration::from_millis(100), ..FetchOptions::default() };
    let (blocks, root, target) = (holders.blocks(options), holders.root, holders.folder.path().join("out"));
    let failed =
        tokio::task::spawn_blocking(move || export(root, &blocks, &target, &mut |_| {})).await.unwrap();
    let Err(crate::ExportError::Get { source, .. }) = failed else { panic!("{failed:?}") };
    assert!(
        matches!(source, GetBlockError::TooFewSlots { answer: 1, slots: 3, needed: 2, .. }),
        "{source:?}"
    );
    holders.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_without_deals_is_asked_of_connected_peers() {
    let holders = Holders::of(Code::new(1, 2).unwrap()).await;
    let options = FetchOptions { deadline: Duration::from_millis(100), ..FetchOptions::default() };
    let blocks = NetBlocks::new(&holders.reader, &holders.store, Vec::new(), options);
    holders.check(&blocks, "from-peers").await;
    let missing = hpips_types::content::cid_v1(hpips_types::content::RAW, b"nobody has it");
    let failed = tokio::task::spawn_blocking(move || blocks.get(&missing)).await.unwrap();
    assert!(matches!(failed, Err(GetBlockError::NotFound { peers: Some(2), .. })), "{failed:?}");
    // Long before its deadline ends a reader whose caller has left.
    let blocks = NetBlocks::new(&holders.reader, &holders.store, Vec::new(), FetchOptions::default());
    let started = Instant::now();
    let is_wanted = move || started.elapsed() < Duration::from_millis(100);
    let left = tokio::task::spawn_blocking(move || blocks.get_while(&missing, &is_wanted)).await.unwrap();
    assert!(matches!(left, Err(GetBlockError::Unwanted { .. })), "{left:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    holders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_nobody_is_connected_with_is_found_in_the_dht() {
    let folder = tempfile::tempdir().unwrap();
    let node = async |seed: u8, name: &str| {
        let own = store(&folder.path().join(name));
        let mut config = Config::loopback([seed; 32]);
        config.dhts = vec![hpips_net::Dht::of_network("test-seek")];
        (Net::start(config, Arc::new(own.clone())).await.unwrap(), own)
    };
    let (middle, _) = node(1, "middle").await;
    let (holder, held) = node(2, "holder").await;
    let (reader, empty) = node(3, "reader").await;
    let source = folder.path().join("file");
    std::fs::write(&source, noise(3_000_000)).unwrap();
    let root = add_local(&held, &source, &AddOptions::default(), &Reporter::none()).unwrap().report.root;
    holder.dial(middle.full_addrs()[0].clone()).await.unwrap();
    while holder.routing().provide(root).await.is_err() {
        tokio::task::yield_now().await;
    }
    // Comes last: whoever is there already may be asked to remember who has it, and is connected with for that.
    assert!(!reader.is_connected(&holder.account()));
    reader.dial(middle.full_addrs()[0].clone()).await.unwrap();
    let blocks = NetBlocks::new(&reader, &empty, Vec::new(), FetchOptions::default());
    let target = folder.path().join("got");
    let read = {
        let (blocks, target) = (blocks.clone(), target.clone());
        tokio::task::spawn_blocking(move || export(root, &blocks, &target, &mut |_| {}))
    };
    read.await.unwrap().unwrap();
    assert!(std::fs::read(&target).unwrap() == noise(3_000_000));
    assert!(reader.is_connected(&holder.account()));
}
