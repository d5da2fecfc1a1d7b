//! Blocks from Kubo to HPIPS and back, over bitswap on loopback.

use std::fs;

use crate::cids::noise;
use crate::kubo::Kubo;
use crate::node::Node;

#[test]
fn files_travel_both_ways() {
    let Some(kubo) = Kubo::online(&[]) else { return };
    let node = Node::start();
    node.ok(&["swarm", "connect", &kubo.address_of_swarm()]);
    let theirs = node.folder().join("theirs");
    // Both block sizes, and more blocks at once than Kubo has workers: it answers on a stream a message.
    for (name, length, flags) in [
        ("small", 20_000_000, ["--cid-version=0", "--chunker=size-262144"]),
        ("large", 20_000_000, ["--cid-version=1", "--chunker=size-1048576"]),
    ] {
        let bytes = noise(length, 7);
        fs::write(&theirs, &bytes).unwrap();
        let added = kubo.ok(&["add", "-Q", flags[0], flags[1], theirs.to_str().unwrap()]);
        let cid = String::from_utf8(added).unwrap();
        let got = node.folder().join(name);
        node.ok(&["get", cid.trim(), "-o", got.to_str().unwrap()]);
        assert!(fs::read(&got).unwrap() == bytes, "{name}: Kubo to HPIPS");
    }
    let ours = node.folder().join("ours");
    let bytes = noise(20_000_000, 8);
    fs::write(&ours, &bytes).unwrap();
    for flags in [&["--cid-version", "0"][..], &[]] {
        let args: Vec<&str> =
            ["add", "--local", "-Q"].iter().chain(flags).chain(&[ours.to_str().unwrap()]).copied().collect();
        let cid = node.ok(&args);
        let got = kubo.ok(&["cat", cid.trim()]);
        assert!(got == bytes, "{flags:?}: HPIPS to Kubo");
    }
}
