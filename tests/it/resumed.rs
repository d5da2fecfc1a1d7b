//! A fetch whose node is killed in its middle goes on with what is missing.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hpips_api::ApiClient;
use hpips_api::view::{GetLine, GetRequest};
use hpips_bitswap::{BlockSource, SourceError};
use hpips_client::{AddOptions, Reporter, add_local};
use hpips_net::{Config, Net};
use hpips_store::Store;
use hpips_types::Cid;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::binary::hpips;
use crate::killed::bytes_below;
use crate::node::Node;

const MIB: u64 = 1 << 20;
/// What is fetched.
const FILE_BYTES: u64 = 64 * MIB;
/// What the source gives before the node is killed.
const FIRST_BYTES: u64 = 48 * MIB;
/// What the node has stored when it is killed, at least: it stores in batches of 16 MiB.
const STORED_BYTES: u64 = 30 * MIB;
/// How long anything may take on a loaded machine.
const WAIT: Duration = Duration::from_secs(120);

/// A store that stops giving blocks in the middle.
struct Gate {
    store: Store,
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    /// How often each block was given.
    given: BTreeMap<Cid, u64>,
    bytes: u64,
    is_open: bool,
}

impl BlockSource for Gate {
    fn size(&self, cid: &Cid) -> Result<Option<u32>, SourceError> {
        BlockSource::size(&self.store, cid)
    }

    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, SourceError> {
        let mut state = self.state.lock().unwrap();
        while !state.is_open && state.bytes >= FIRST_BYTES {
            state = self.opened.wait(state).unwrap();
        }
        let block = BlockSource::get(&self.store, cid)?;
        if let Some(block) = &block {
            *state.given.entry(*cid).or_default() += 1;
            state.bytes += block.len() as u64;
        }
        Ok(block)
    }
}

/// A node elsewhere that has the file and stops in its middle.
struct Source {
    runtime: Runtime,
    net: Net,
    gate: Arc<Gate>,
    root: String,
    address: String,
    noise: Vec<u8>,
    _folder: TempDir,
}

impl Source {
    fn start(seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let noise: Vec<u8> =
            (0..FILE_BYTES).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        fs::write(&file, &noise).unwrap();
        let store = Store::open(folder.path().join("store"), hpips_store::Config::default()).unwrap();
        let root = add_local(&store, &file, &AddOptions::default(), &Reporter::none()).unwrap().report.root;
        let gate = Arc::new(Gate { store, state: Mutex::default(), opened: Condvar::new() });
        let runtime = Runtime::new().unwrap();
        let net = runtime.block_on(Net::start(Config::loopback([seed; 32]), gate.clone())).unwrap();
        let address = net.full_addrs()[0].to_string();
        Self { runtime, net, gate, root: root.to_string(), address, noise, _folder: folder }
    }

    /// Lets the rest go; says how many bytes went before.
    fn open(&self) -> u64 {
        let mut state = self.gate.state.lock().unwrap();
        state.is_open = true;
        self.gate.opened.notify_all();
        state.bytes
    }

    fn shutdown(self) {
        self.runtime.block_on(self.net.shutdown());
    }
}

#[test]
fn a_get_says_how_far_it_is_while_it_stands_still_too() {
    let (source, node) = (Source::start(78), Node::start());
    node.ok(&["swarm", "connect", &source.address]);
    let target = node.folder().join("got");
    let request = GetRequest { path: source.root.clone(), target: target.clone(), offline: false };
    let client = ApiClient::of_repo(&node.repo()).unwrap();
    let mut stood = Vec::new();
    let take = |line: GetLine| match line {
        GetLine::Progress(progress) => {
            // What is written is some blocks behind what the source gave, and does not grow while the source stands.
            if progress.bytes > 0 {
                stood.push(progress);
            }
            let same = stood.iter().rev().take_while(|before| before.bytes == progress.bytes).count();
            if same >= 5 {
                source.open();
            }
            ControlFlow::Continue(())
        }
        GetLine::Done(answer) => ControlFlow::Break(answer),
        GetLine::Failed(error) => panic!("{error}"),
    };
    let lines = client.post_lines("/hpips/v0/get-lines", &request, take);
    let answer = source.runtime.block_on(async { tokio::time::timeout(WAIT, lines).await.unwrap().unwrap() });
    assert_eq!((answer.files, answer.bytes), (1, FILE_BYTES));
    assert!(fs::read(&target).unwrap() == source.noise);
    let middle = stood.first().expect("seen in its middle");
    assert_eq!((middle.all, middle.holders), (FILE_BYTES, 0));
    assert!(middle.bytes < FILE_BYTES && middle.fetched_bytes >= middle.bytes, "{middle:?}");
    assert!(stood.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes), "it only grows");

    // What cannot be had is said in the same way.
    let request = GetRequest { path: source.root.clone(), target, offline: false };
    let take = |line: GetLine| match line {
        GetLine::Failed(error) => ControlFlow::Break(error),
        GetLine::Progress(_) => ControlFlow::Continue(()),
        GetLine::Done(answer) => panic!("{answer:?}"),
    };
    let error = source.runtime.block_on(client.post_lines("/hpips/v0/get-lines", &request, take)).unwrap();
    assert!(error.to_string().contains("exists"), "{error}");
    let absent = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4".to_owned();
    let request = GetRequest { path: absent, target: node.folder().join("absent"), offline: true };
    let error = source.runtime.block_on(client.post_lines("/hpips/v0/get-lines", &request, take)).unwrap();
    assert!(error.to_string().contains("not found here"), "{error}");
    source.shutdown();
}

#[test]
fn a_node_killed_in_the_middle_of_a_fetch_fetches_only_what_is_missing() {
    let source = Source::start(77);
    let Source { root, address, noise, gate, .. } = &source;
    let mut node = Node::start();
    node.ok(&["swarm", "connect", address]);
    let mut fetch = Command::new(hpips())
        .args(["pin", "add", root])
        .env("HPIPS_PATH", node.repo())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + WAIT;
    while bytes_below(&node.repo().join("blocks")) < STORED_BYTES {
        assert!(fetch.try_wait().unwrap().is_none(), "the fetch ended before its middle");
        assert!(Instant::now() < end, "the store does not grow");
        std::thread::yield_now();
    }
    node.kill_and_start();
    assert!(!fetch.wait().unwrap().success(), "the command says that its node is gone");

    let before = source.open();
    node.ok(&["swarm", "connect", address]);
    node.ok(&["pin", "add", root]);
    let target = node.folder().join("got");
    node.ok(&["get", root, "-o", target.to_str().unwrap()]);
    assert!(fs::read(&target).unwrap() == *noise, "the file is whole");

    let state = gate.state.lock().unwrap();
    // Lost are the batch that was not yet stored and what was under way.
    let again: u64 = state.bytes - FILE_BYTES;
    assert!(before < FILE_BYTES, "it was killed in the middle, after {before} bytes");
    assert!(again < FIRST_BYTES - STORED_BYTES + 8 * MIB, "{again} of {before} bytes were fetched again");
    drop(state);
    source.shutdown();
}
