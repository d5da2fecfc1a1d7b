//! A node of ours for these tests: its own repo, free ports on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary::{hpips, ok};

/// How long a node may take to start on a loaded machine.
const START: Duration = Duration::from_secs(60);

/// A running daemon.
pub(crate) struct Node {
    folder: TempDir,
    daemon: Child,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// One whose configuration is changed before it starts.
    pub(crate) fn with(change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        ok(&repo, &["init"]);
        let config = repo.join("config");
        let text = fs::read_to_string(&config).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["listen"] = serde_json::json!(["/ip4/127.0.0.1/tcp/0"]);
        json["api"] = "127.0.0.1:0".into();
        json["mdns"] = false.into();
        if json.get("gateway").is_some() {
            json["gateway"] = "127.0.0.1:0".into();
        }
        change(&mut json);
        fs::write(&config, json.to_string()).unwrap();
        let daemon = spawn(&repo);
        let mut node = Self { folder, daemon };
        node.wait();
        node
    }

    /// Waits until the daemon answers.
    fn wait(&mut self) {
        let end = Instant::now() + START;
        while !self.is_ready() {
            assert!(self.daemon.try_wait().unwrap().is_none(), "the daemon ended");
            assert!(Instant::now() < end, "the daemon does not answer");
        }
    }

    /// Ends the daemon at once, as a power cut does to a process, and starts another one on its repo.
    pub(crate) fn kill_and_start(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        self.daemon = spawn(&self.repo());
        self.wait();
    }

    /// Its endpoint is written once it answers.
    fn is_ready(&self) -> bool {
        self.repo().join("api").exists()
            && Command::new(hpips())
                .args(["status", "--json"])
                .env("HPIPS_PATH", self.repo())
                .output()
                .is_ok_and(|output| output.status.success())
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// A folder beside the repo for a test's files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of its RPC.
    pub(crate) fn rpc(&self) -> String {
        format!("http://{}", self.endpoint()["address"].as_str().expect("an address"))
    }

    /// What opens the pinning service there.
    pub(crate) fn pins_token(&self) -> String {
        fs::read_to_string(self.repo().join("pins-token")).unwrap().trim().to_owned()
    }

    fn endpoint(&self) -> serde_json::Value {
        let endpoint = fs::read_to_string(self.repo().join("api")).unwrap();
        serde_json::from_str(&endpoint).unwrap()
    }

    /// The URL of its gateway.
    pub(crate) fn gateway(&self) -> String {
        fs::read_to_string(self.repo().join("gateway")).unwrap()
    }

    /// Runs a command that succeeds; what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        ok(&self.repo(), args)
    }
}

fn spawn(repo: &Path) -> Child {
    Command::new(hpips())
        .arg("daemon")
        .env("HPIPS_PATH", repo)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

impl Node {
    /// As [`Self::ok`], for what is no text.
    pub(crate) fn bytes(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new(hpips()).args(args).env("HPIPS_PATH", self.repo()).output().unwrap();
        assert!(output.status.success(), "hpips {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
