//! A fetch that knows nobody asks the routers it is told of.

use std::fs;

use crate::node::Node;

#[test]
fn a_fetch_asks_routers_elsewhere() {
    let holder = Node::start();
    let file = holder.folder().join("file");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&file, &bytes).unwrap();
    let cid = holder.ok(&["add", "--local", "-Q", file.to_str().unwrap()]);
    let router = holder.gateway();
    let reader = Node::with(|config| {
        config["delegated_routers"] = serde_json::json!([router]);
        config["routing"] = "none".into();
    });
    assert_eq!(reader.ok(&["swarm", "peers"]).trim(), "", "nobody told it of anybody");
    assert!(reader.bytes(&["cat", cid.trim()]) == bytes, "fetched from whom the router named");
}
