//! npm's `kubo-rpc-client` as a client of a node here.

use std::path::PathBuf;
use std::process::Command;

use crate::kubo::{program, skipped};
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

#[test]
fn kubos_own_command_line_adds_here() {
    let Some(program) = program() else { return skipped("kubo") };
    let node = Node::start();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("sub folder/empty")).unwrap();
    std::fs::write(source.join("a+b c"), "hello\n").unwrap();
    std::fs::write(source.join("sub folder/x"), "x").unwrap();
    std::os::unix::fs::symlink("a+b c", source.join("link")).unwrap();
    let repo = folder.path().join("kubo");
    let run = |args: &[&str]| {
        let output = Command::new(program).args(args).env("IPFS_PATH", &repo).output().expect("ipfs starts");
        assert!(output.status.success(), "ipfs {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["init", "--profile=test"]);
    let address: std::net::SocketAddr = node.rpc().trim_start_matches("http://").parse().unwrap();
    let api = format!("--api=/ip4/{}/tcp/{}", address.ip(), address.port());
    let source = source.to_str().unwrap();
    let add = ["add", "-r", "--cid-version=1", source];
    assert_eq!(run(&[&[api.as_str()][..], &add].concat()), run(&[&add[..], &["--only-hash"]].concat()));
}
