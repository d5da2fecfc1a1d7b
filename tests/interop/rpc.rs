//! npm's `kubo-rpc-client` as a client of a node here.

use std::path::PathBuf;
use std::process::Command;

use crate::kubo::skipped;
use crate::node::Node;

/// The folder that `.ci/npm` filled, named by `HPIPS_NPM`.
fn modules() -> Option<PathBuf> {
    let folder = std::env::var_os("HPIPS_NPM").map(PathBuf::from)?;
    folder.join("node_modules/kubo-rpc-client").is_dir().then_some(folder)
}

#[test]
fn programs_written_for_kubo_work() {
    let Some(folder) = modules() else { return skipped("kubo-rpc-client") };
    let node = Node::start();
    // Modules are looked for from where the script lies.
    let script = folder.join("rpc.mjs");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/rpc.mjs"), &script).unwrap();
    let output = Command::new("node").arg(&script).arg(node.rpc()).output().expect("node starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
