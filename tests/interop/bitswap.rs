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

#[test]
fn a_node_with_an_rsa_key_is_a_peer_as_others() {
    let Some(kubo) = Kubo::of_rsa() else { return };
    let node = Node::start();
    let address = kubo.address_of_swarm();
    assert!(address.contains("/p2p/Qm"), "{address}");
    let said = node.ok(&["swarm", "connect", &address]);
    assert!(said.contains("/p2p/Qm") || said.contains("connect Qm"), "{said}");
    assert!(node.ok(&["ping", "-n", "1", &address]).contains("time="));
    let bytes = noise(2_000_000, 9);
    let file = node.folder().join("file");
    fs::write(&file, &bytes).unwrap();
    let theirs =
        String::from_utf8(kubo.ok(&["add", "-Q", "--cid-version=1", file.to_str().unwrap()])).unwrap();
    assert!(node.bytes(&["cat", theirs.trim()]) == bytes, "Kubo to HPIPS");
    fs::write(&file, &bytes[1..]).unwrap();
    let ours = node.ok(&["add", "--local", "-Q", file.to_str().unwrap()]);
    assert!(kubo.ok(&["cat", ours.trim()]) == bytes[1..], "HPIPS to Kubo");
    let (_, name) = address.rsplit_once('/').unwrap();
    assert!(node.ok(&["swarm", "peers"]).contains(name));
    node.ok(&["swarm", "disconnect", &address]);
    assert!(!node.ok(&["swarm", "peers"]).contains(name));
}

#[test]
fn folders_travel_over_quic_both_ways() {
    let addresses = "[\"/ip4/127.0.0.1/udp/0/quic-v1\"]";
    let Some(kubo) = Kubo::online(&[("Addresses.Swarm", addresses)]) else { return };
    let node = Node::with(|config| config["listen"] = serde_json::json!(["/ip4/127.0.0.1/udp/0/quic-v1"]));
    let address = kubo.address("/udp/");
    assert!(address.contains("/quic-v1/"), "{address}");
    node.ok(&["swarm", "connect", &address]);
    assert!(node.ok(&["swarm", "peers"]).contains("/quic-v1/"));
    assert!(node.ok(&["ping", "-n", "1", &address]).contains("time="));
    // So many entries that both sides split the directory.
    let folder = node.folder().join("folder");
    fs::create_dir(&folder).unwrap();
    for index in 0..6000 {
        fs::write(folder.join(format!("file number {index:05}")), index.to_string()).unwrap();
    }
    let folder = folder.to_str().unwrap();
    let ours = node.ok(&["add", "--local", "-Q", "-r", folder]);
    let listed =
        String::from_utf8(kubo.ok(&["ls", "--resolve-type=false", "--size=false", ours.trim()])).unwrap();
    assert_eq!(listed.lines().count(), 6000, "HPIPS to Kubo");
    assert_eq!(kubo.ok(&["cat", &format!("{}/file number 05999", ours.trim())]), b"5999");
    fs::write(node.folder().join("folder/file number 04711"), "another").unwrap();
    let theirs = String::from_utf8(kubo.ok(&["add", "-Q", "-r", "--cid-version=1", folder])).unwrap();
    assert_ne!(theirs, ours);
    let got = node.folder().join("got");
    node.ok(&["get", theirs.trim(), "-o", got.to_str().unwrap()]);
    assert_eq!(fs::read_dir(&got).unwrap().count(), 6000, "Kubo to HPIPS");
    assert_eq!(fs::read(got.join("file number 04711")).unwrap(), b"another");
}

#[test]
fn each_finds_the_other_s_blocks_in_the_dht() {
    let config = [("Routing.Type", "\"dht\""), ("Routing.LoopbackAddressesOnLanDHT", "true")];
    let Some(kubo) = Kubo::online(&config) else { return };
    let (holder, seeker) = (Node::start(), Node::start());
    for node in [&holder, &seeker] {
        node.ok(&["swarm", "connect", &kubo.address_of_swarm()]);
    }
    let file = holder.folder().join("file");
    let bytes = noise(3_000_000, 31);
    fs::write(&file, &bytes).unwrap();
    let cid = holder.ok(&["add", "--local", "-Q", file.to_str().unwrap()]);
    let cid = cid.trim();
    let id: serde_json::Value = serde_json::from_str(&holder.ok(&["id"])).unwrap();
    let peer = id["ID"].as_str().unwrap();
    // The record is told beside `add`, as soon as the tables are filled.
    let found = |find: &dyn Fn() -> String, whom: &str| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !find().contains(whom) {
            assert!(std::time::Instant::now() < end, "{whom} is not found");
        }
    };
    let by_kubo = || {
        let said = kubo.run(&["routing", "findprovs", "--timeout=5s", cid]);
        String::from_utf8(said.stdout).unwrap()
    };
    found(&by_kubo, peer);
    // The seeker was connected with Kubo only, which keeps the record and not the block.
    assert!(seeker.bytes(&["cat", cid]) == bytes);
    assert!(seeker.ok(&["swarm", "peers"]).contains(peer));

    let theirs =
        String::from_utf8(kubo.ok(&["add", "-Q", "--cid-version=1", file.to_str().unwrap()])).unwrap();
    kubo.ok(&["routing", "provide", theirs.trim()]);
    let kubo_id = String::from_utf8(kubo.ok(&["id", "-f", "<id>"])).unwrap();
    found(&|| seeker.ok(&["routing", "findprovs", theirs.trim()]), kubo_id.trim());
}
