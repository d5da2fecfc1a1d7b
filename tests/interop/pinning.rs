//! Kubo's own client of pinning services, with a node as the service.

use std::fs;

use serde_json::Value;

use crate::cids::noise;
use crate::kubo::Kubo;
use crate::node::Node;

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn kubo_pins_on_a_node() {
    let Some(kubo) = Kubo::online(&[]) else { return };
    let node = Node::start();
    let file = node.folder().join("file");
    let bytes = noise(3_000_000, 13);
    fs::write(&file, &bytes).unwrap();
    let added = kubo.ok(&["add", "-Q", "--cid-version=1", file.to_str().unwrap()]);
    let cid = String::from_utf8(added).unwrap();
    let cid = cid.trim();
    kubo.ok(&["pin", "remote", "service", "add", "hpips", &node.rpc(), &node.pins_token()]);
    let remote = |command: &str, more: &[&str]| {
        let args = ["pin", "remote", command, "--enc=json", "--service=hpips"];
        lines(&kubo.ok(&[&args[..], more].concat()))
    };
    // Nobody told the node where Kubo is: its addresses come along as origins. The command waits for the pin.
    let pinned = remote("add", &["--name=n", cid]);
    assert_eq!((&pinned[0]["Status"], &pinned[0]["Cid"]), (&"pinned".into(), &cid.into()));
    let ours = node.ok(&["pin", "ls", "--type=recursive", "--names"]);
    assert!(ours.lines().any(|line| line.starts_with(cid) && line.trim_end().ends_with(" n")), "{ours}");
    // Read by a command that asks nobody else.
    assert!(node.bytes(&["cat", "--offline", cid]) == bytes);

    // More than a page of them: Kubo follows the dates.
    for number in 0..11 {
        remote("add", &["--background", &format!("--name=m{number}"), cid]);
    }
    assert_eq!(remote("ls", &["--status=queued,pinning,pinned"]).len(), 12);
    assert_eq!(remote("ls", &["--name=n"]).len(), 1);
    let stat = kubo.ok(&["pin", "remote", "service", "ls", "--stat"]);
    assert!(String::from_utf8_lossy(&stat).contains("hpips"), "the counts are had");
    remote("rm", &["--status=queued,pinning,pinned", "--force"]);
    assert!(remote("ls", &["--status=queued,pinning,pinned,failed"]).is_empty());
    assert!(!node.ok(&["pin", "ls", "--type=recursive"]).contains(cid));

    kubo.ok(&["pin", "remote", "service", "add", "closed", &node.rpc(), "wrong"]);
    let refused = kubo.run(&["pin", "remote", "ls", "--service=closed"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("UNAUTHORIZED"));
}
