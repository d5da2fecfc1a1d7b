//! A fetch whose node is killed in its middle goes on with what is missing.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hpips_bitswap::{BlockSource, SourceError};
use hpips_client::{AddOptions, Reporter, add_local};
use hpips_net::{Config, Net};
use hpips_store::Store;
use hpips_types::Cid;

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

#[test]
fn a_node_killed_in_the_middle_of_a_fetch_fetches_only_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let noise: Vec<u8> =
        (0..FILE_BYTES).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    fs::write(&file, &noise).unwrap();
    let store = Store::open(folder.path().join("store"), hpips_store::Config::default()).unwrap();
    let root = add_local(&store, &file, &AddOptions::default(), &Reporter::none()).unwrap().report.root;
    let gate = Arc::new(Gate { store, state: Mutex::default(), opened: Condvar::new() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = runtime.block_on(Net::start(Config::loopback([77; 32]), gate.clone())).unwrap();
    let address = source.full_addrs()[0].to_string();

    let mut node = Node::start();
    node.ok(&["swarm", "connect", &address]);
    let mut fetch = Command::new(hpips())
        .args(["pin", "add", &root.to_string()])
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

    let before = {
        let mut state = gate.state.lock().unwrap();
        state.is_open = true;
        gate.opened.notify_all();
        state.bytes
    };
    node.ok(&["swarm", "connect", &address]);
    node.ok(&["pin", "add", &root.to_string()]);
    let target = node.folder().join("got");
    node.ok(&["get", &root.to_string(), "-o", target.to_str().unwrap()]);
    assert!(fs::read(&target).unwrap() == noise, "the file is whole");

    let state = gate.state.lock().unwrap();
    // Lost are the batch that was not yet stored and what was under way.
    let again: u64 = state.bytes - FILE_BYTES;
    assert!(before < FILE_BYTES, "it was killed in the middle, after {before} bytes");
    assert!(again < FIRST_BYTES - STORED_BYTES + 8 * MIB, "{again} of {before} bytes were fetched again");
    drop(state);
    runtime.block_on(source.shutdown());
}
