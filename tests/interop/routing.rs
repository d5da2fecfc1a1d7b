//! Names and providers between Kubo and HPIPS: each asks the other over HTTP and nothing else.

use std::fs;

use serde_json::json;

use crate::cids::noise;
use crate::kubo::Kubo;
use crate::node::Node;

/// A path that every Kubo has a block of.
const EMPTY: &str = "/ipfs/bafkqaaa";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

/// A Kubo whose only router is this one.
fn kubo_with(router: &str) -> Option<Kubo> {
    let routers = json!([router]).to_string();
    let config = [
        ("Provide.Enabled", "false"),
        ("Routing.Type", "\"delegated\""),
        ("Routing.DelegatedRouters", &routers),
        ("Ipns.DelegatedPublishers", &routers),
    ];
    Kubo::online(&config)
}

#[test]
fn kubo_finds_what_a_node_has_and_what_its_names_say() {
    let node = Node::start();
    let Some(kubo) = kubo_with(&node.gateway()) else { return };
    let file = node.folder().join("file");
    let bytes = noise(3_000_000, 11);
    fs::write(&file, &bytes).unwrap();
    let cid = node.ok(&["add", "--local", "-Q", file.to_str().unwrap()]);
    let cid = cid.trim();
    let id: serde_json::Value = serde_json::from_str(&node.ok(&["id"])).unwrap();
    let peer = id["ID"].as_str().unwrap();
    assert_eq!(text(kubo.ok(&["routing", "findprovs", cid])), peer);
    assert!(text(kubo.ok(&["routing", "findpeer", peer])).contains("/ip4/127.0.0.1/tcp/"));
    // It was never told the address.
    assert!(kubo.ok(&["cat", cid]) == bytes, "fetched from whom the router named");

    let published = node.ok(&["name", "publish", "-Q", &format!("/ipfs/{cid}")]);
    let name = published.trim();
    assert_eq!(text(kubo.ok(&["name", "resolve", name])), format!("/ipfs/{cid}"));
    assert!(kubo.ok(&["cat", &format!("/ipns/{name}")]) == bytes);

    // Kubo's own name goes the other way, by PUT.
    let own = text(kubo.ok(&["name", "publish", "-Q", "--allow-delegated", EMPTY]));
    assert_eq!(node.ok(&["name", "resolve", &own]).trim(), EMPTY);
    assert_eq!(node.ok(&["resolve", &format!("/ipns/{own}")]).trim(), EMPTY);
}

#[test]
fn records_of_each_are_the_other_s() {
    let Some(kubo) = Kubo::online(&[]) else { return };
    let node = Node::start();
    let record = kubo.file("record");
    let name = node.ok(&["key", "gen", "site"]);
    let name = name.trim();
    for (flags, form, ttl) in [
        (&["--lifetime=24h", "--ttl=10m"][..], "V1+V2", "10m0s"),
        (&["--v1compat=false", "--ttl=0s"], "V2", "0s"),
    ] {
        let args: Vec<&str> =
            ["name", "publish", "--key=site"].iter().chain(flags).chain(&[EMPTY]).copied().collect();
        let said = node.ok(&args);
        assert_eq!(said.trim(), format!("Published to {name}: {EMPTY}"));
        fs::write(&record, node.bytes(&["name", "get", name])).unwrap();
        let record = record.to_str().unwrap();
        let theirs = text(kubo.ok(&["name", "inspect", "--verify", name, record]));
        assert!(
            theirs.contains(" Valid: true") && theirs.contains(&format!("TTL:            {ttl}")),
            "{theirs}"
        );
        assert!(theirs.contains(&format!("Signature Type: {form}")), "{theirs}");
        // What is printed about it is the same, byte for byte.
        assert_eq!(node.ok(&["name", "inspect", "--verify", name, record]).trim(), theirs);
        let ours = node.ok(&["name", "inspect", "--json", "--verify", name, record]);
        let of_kubo = text(kubo.ok(&["name", "inspect", "--enc=json", "--verify", name, record]));
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&ours), parse(&of_kubo));
    }

    let own = text(kubo.ok(&["name", "publish", "-Q", "--allow-offline", "--sequence=9", EMPTY]));
    fs::write(&record, kubo.ok(&["name", "get", &own])).unwrap();
    assert_eq!(node.ok(&["name", "put", &own, record.to_str().unwrap()]).trim(), own);
    assert_eq!(node.ok(&["name", "resolve", &own]).trim(), EMPTY);
    assert_eq!(node.bytes(&["routing", "get", &format!("/ipns/{own}")]), fs::read(&record).unwrap());
}

#[test]
fn a_node_asks_kubo() {
    let Some(kubo) = Kubo::online(&[("Gateway.ExposeRoutingAPI", "true")]) else { return };
    let router = kubo.gateway();
    let node = Node::with(|config| config["delegated_routers"] = json!([router]));
    let name = text(kubo.ok(&["name", "publish", "-Q", "--allow-offline", EMPTY]));
    assert_eq!(node.ok(&["name", "resolve", &name]).trim(), EMPTY);
    assert_eq!(node.ok(&["cat", &format!("/ipns/{name}")]), "");
    let published = node.ok(&["name", "publish", "-Q", EMPTY]);
    // A router that nobody else is behind cannot pass it on; it is here in any case.
    assert_eq!(node.ok(&["name", "resolve"]).trim(), EMPTY);
    assert_eq!(node.ok(&["resolve", &format!("/ipns/{}", published.trim())]).trim(), EMPTY);
}
