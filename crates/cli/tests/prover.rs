//! `hpips prover` without a node: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A folder without a repo.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hpips"));
        command
            .args(args.split(' '))
            .current_dir(self.0.path())
            .env("HPIPS_PATH", self.path("repo"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    fn ok(&self, args: &str) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "hpips {args}: {:?}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails with this exit code, and every word in the message.
    fn fails(&self, args: &str, code: i32, words: &[&str]) {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "hpips {args}\n{errors}");
        for word in words {
            assert!(errors.contains(word), "hpips {args}: no {word:?} in\n{errors}");
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is() {
    let place = Place::new();
    place.fails("prover bench --network moon", 2, &["moon", "dev, testnet, main"]);
    place.fails("prover bench --threads 0", 2, &["0"]);
    let listed = place.ok("prover keys --keys nowhere");
    assert_eq!(listed.matches("missing").count(), 4, "{listed}");
    place.fails("prover keys verify --keys nowhere", 4, &["no keys of test-dev in nowhere", "prover bench"]);
    place.fails("prover keys export --keys nowhere --network main", 4, &["no keys of main"]);
    place.fails("prover export", 10, &["hpips init"]);
    place.ok("init");
    place.fails("prover export", 1, &["hpips daemon"]);
    place.ok("config --json Hpips.ProvingMemory 1000000");
    place.fails("prover bench --keys nowhere", 1, &["66.2 MB", "1.00 MB", "Hpips.ProvingMemory"]);
    assert!(!place.path("nowhere").exists());
}

#[test]
fn the_bench_measures_and_its_keys_and_proof_are_for_everybody() {
    let place = Place::new();
    let measured = json(&place.ok("--json prover bench --network dev --keys keys --out proof.json"));
    for field in ["permutation_ns", "permutation_alone_ns", "window_ms", "cores", "threads", "lanes"] {
        assert!(measured[field].as_u64().unwrap() > 0, "{field}");
    }
    for field in ["seal_core_hours", "seal_core_hours_in_lanes"] {
        assert!(measured[field].as_f64().unwrap() > 0.0, "{field}");
    }
    for (circuit, constraints) in [("window", 12_714), ("activation", 23_134)] {
        assert_eq!(measured[circuit]["constraints"], constraints);
        assert!(measured[circuit]["proof_ms"].as_u64().unwrap() > 0);
        assert!(measured[circuit]["check_us"].as_u64().unwrap() > 0);
    }
    let took = ["keys_ms", "proof_ms"].map(|part| measured["window"][part].as_u64().unwrap());
    let is_met = took.iter().sum::<u64>() <= measured["window_ms"].as_u64().unwrap();
    assert_eq!(measured["is_met"], is_met);

    let exported = json(&place.ok("prover keys export --keys keys"));
    let proof = json(&fs::read_to_string(place.path("proof.json")).unwrap());
    let key = &exported["keys"][0];
    assert_eq!((&key["circuit"], &key["insecure"]), (&"window".into(), &true.into()));
    assert_eq!(key["verificationKey"], proof["verificationKey"]);
    assert_eq!(proof["publicSignals"].as_array().unwrap().len(), proof["signals"].as_array().unwrap().len());
    fetched_keys(&place);
    damaged_keys(&place, &exported);
}

/// What somebody added under its CID becomes a key of another machine, and nothing else does.
fn fetched_keys(place: &Place) {
    place.ok("init");
    let listing = json(&place.ok("--json prover keys verify --keys keys"));
    for file in listing["files"].as_array().unwrap() {
        let text = |field: &str| file[field].as_str().unwrap().to_owned();
        let (path, cid) = (text("path"), text("cid"));
        assert_eq!(place.ok(&format!("add --local -Q {path}")).trim(), cid);
        let said = place.ok(&format!("prover keys get {cid} --keys other"));
        assert!(said.contains(&format!("{} {} key", text("circuit"), text("key"))), "{said}");
        assert!(said.contains("checked"), "{said}");
        let name = Path::new(&path).file_name().unwrap();
        let same = fs::read(place.path("other").join(name)).unwrap()
            == fs::read(place.0.path().join(&path)).unwrap();
        assert!(same, "{name:?}");
        assert!(place.ok(&format!("prover keys get {cid} --keys other")).contains("had been there"));
        let words = ["insecure test key", "network main", "Nothing was changed"];
        place.fails(&format!("prover keys get {cid} --keys real --network main"), 1, &words);
    }
    let whole = json(&place.ok("--json prover keys verify --keys other"));
    assert!(whole["files"].as_array().unwrap().iter().all(|file| file["state"] == "here"), "{whole}");
    fs::write(place.path("letter"), [b'a'; 5_000]).unwrap();
    let cid = place.ok("add --local -Q letter").trim().to_owned();
    place.fails(
        &format!("prover keys get {cid} --keys other"),
        1,
        &["not a key file", "CID is the right one"],
    );
    place.fails(
        "prover keys get QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn/no --keys other",
        4,
        &["could not find", "hpips daemon"],
    );
    place.fails("prover keys get nonsense --keys other", 2, &["nonsense"]);
    assert!(!place.path("other").join("arriving.tmp").exists());
    assert!(
        !fs::read_dir(place.path("real"))
            .unwrap()
            .any(|entry| entry.unwrap().path().extension() != Some("lock".as_ref()))
    );
}

#[test]
fn ctrl_c_ends_the_bench_at_once() {
    let place = Place::new();
    let mut child =
        place.command("prover bench --network main --keys keys").stderr(Stdio::piped()).spawn().unwrap();
    // What is ahead is said before it begins.
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(
        line.contains("main parameters") && line.contains("of memory") && line.contains(" min"),
        "{line}"
    );
    let pid = rustix::process::Pid::from_child(&child);
    let signal = if ignores_ctrl_c() { Signal::TERM } else { Signal::INT };
    rustix::process::kill_process(pid, signal).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
    assert!(!place.path("keys").exists());
}

/// Whether these tests were started in the background of a shell: their children ignore Ctrl-C then, as they should.
fn ignores_ctrl_c() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    mask & (1 << (Signal::INT.as_raw() - 1)) != 0
}

fn damaged_keys(place: &Place, exported: &Value) {
    let listing = json(&place.ok("--json prover keys verify --keys keys"));
    let files = listing["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    assert!(files.iter().all(|file| file["state"] == "here" && file["cid"].is_string()), "{listing}");
    assert!(files.iter().any(|file| file["constraints"] == exported["keys"][0]["constraints"]));
    let path = files.iter().find(|file| file["key"] == "proving").unwrap()["path"].as_str().unwrap();
    let path = place.0.path().join(Path::new(path));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    place.fails("prover keys verify --keys keys", 1, &[name, "remove it", "made again"]);
    // Another file of the same folder under this name.
    let other = path.with_extension("vk");
    fs::copy(&other, &path).unwrap();
    let listed = place.ok("prover keys --keys keys");
    assert!(listed.contains("REFUSED") && listed.contains("not a key file of this kind"), "{listed}");
    fs::write(&other, b"HPIPS").unwrap();
    place.fails("prover keys export --keys keys", 1, &["Nothing was written", "remove it"]);
}
