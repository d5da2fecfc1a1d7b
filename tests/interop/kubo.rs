//! A real Kubo of this test's own: its repo in a temporary folder, its ports on loopback, no bootstrap peers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long Kubo may take to start on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// The `ipfs` program: `HPIPS_KUBO`, else the first on the path.
pub(crate) fn program() -> Option<&'static Path> {
    static PROGRAM: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let named = std::env::var_os("HPIPS_KUBO").filter(|named| !named.is_empty()).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = named.or_else(|| {
            std::env::split_paths(&path).map(|folder| folder.join("ipfs")).find(|program| program.is_file())
        })?;
        Command::new(&found).arg("version").output().ok()?.status.success().then_some(found)
    });
    PROGRAM.as_deref()
}

/// Says that a test proves nothing here.
pub(crate) fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skipped: {what} not installed");
}

/// An offline daemon.
pub(crate) struct Kubo {
    program: &'static Path,
    folder: TempDir,
    daemon: Child,
    /// `host:port` of its RPC.
    address: String,
}

impl Kubo {
    /// Starts one without a network; `None`, said aloud, where Kubo is absent.
    pub(crate) fn start(config: &[(&str, &str)]) -> Option<Self> {
        Self::run_daemon("ed25519", config, &["daemon", "--offline"])
    }

    /// Starts one that listens on loopback.
    pub(crate) fn online(config: &[(&str, &str)]) -> Option<Self> {
        Self::run_daemon("ed25519", config, &["daemon"])
    }

    /// As [`Kubo::online`], with a key as old nodes have.
    pub(crate) fn of_rsa() -> Option<Self> {
        Self::run_daemon("rsa", &[], &["daemon"])
    }

    fn run_daemon(key: &str, config: &[(&str, &str)], command: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            skipped("kubo");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let output = Command::new(program)
                .args(args)
                .env("IPFS_PATH", folder.path())
                .output()
                .expect("ipfs starts");
            assert!(output.status.success(), "ipfs {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["init", "--profile=test", "--algorithm", key]);
        run(&["bootstrap", "rm", "--all"]);
        for (key, value) in config {
            run(&["config", "--json", key, value]);
        }
        let daemon = Command::new(program)
            .args(command)
            .env("IPFS_PATH", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ipfs daemon starts");
        let mut kubo = Self { program, folder, daemon, address: String::new() };
        let end = Instant::now() + START;
        loop {
            if let Some(address) = kubo.listening() {
                kubo.address = address;
                return Some(kubo);
            }
            assert!(kubo.daemon.try_wait().unwrap().is_none(), "ipfs daemon ended");
            assert!(Instant::now() < end, "ipfs daemon does not listen");
            // The file that names the port cannot be waited for in another way.
            std::thread::yield_now();
        }
    }

    /// The RPC's address once it accepts connections.
    fn listening(&self) -> Option<String> {
        let api = fs::read_to_string(self.folder.path().join("api")).ok()?;
        let port = api.trim().strip_prefix("/ip4/127.0.0.1/tcp/")?;
        let address = format!("127.0.0.1:{port}");
        TcpStream::connect(&address).ok().map(|_| address)
    }

    /// Where its swarm listens over TCP on loopback.
    pub(crate) fn address_of_swarm(&self) -> String {
        self.address("/tcp/")
    }

    /// Where its swarm listens on loopback over a transport, given by a part of the address.
    pub(crate) fn address(&self, transport: &str) -> String {
        let id = String::from_utf8(self.ok(&["id", "-f", "<addrs>"])).expect("text");
        let start = format!("/ip4/127.0.0.1{transport}");
        let is_plain = |line: &&str| {
            !line.contains("/ws") && !line.contains("/webtransport") && !line.contains("/webrtc")
        };
        let address = id.lines().filter(is_plain).find(|line| line.starts_with(&start));
        address.expect("an address").to_owned()
    }

    /// The URL of its gateway.
    pub(crate) fn gateway(&self) -> String {
        let file = self.folder.path().join("gateway");
        let end = Instant::now() + START;
        // It is written after the RPC answers.
        while !fs::read_to_string(&file).is_ok_and(|text| text.starts_with("http")) {
            assert!(Instant::now() < end, "ipfs does not say where its gateway listens");
            std::thread::yield_now();
        }
        fs::read_to_string(&file).expect("read just now").trim().to_owned()
    }

    /// A file of this test beside its repo.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of Kubo against the daemon.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(self.program)
            .args(args)
            .env("IPFS_PATH", self.folder.path())
            .output()
            .expect("ipfs starts")
    }

    /// As [`Self::run`] for a command that succeeds; what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        assert!(output.status.success(), "ipfs {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Adds files by RPC, as one request; each answer line as JSON. Names may contain `/`; what lies in one directory has to
    /// come together.
    pub(crate) fn add(&self, query: &str, files: &[(&str, &[u8])]) -> Vec<serde_json::Value> {
        let boundary = "0123456789abcdef0123456789abcdef";
        let mut body = Vec::new();
        let mut part = |name: &str, media: &str, bytes: &[u8]| {
            let name = escaped(name);
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
                 Content-Type: {media}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        };
        let mut folders = std::collections::BTreeSet::new();
        for (name, bytes) in files {
            // A directory comes as a part of its own before what is in it, as every client sends it.
            for (at, _) in name.match_indices('/') {
                if folders.insert(&name[..at]) {
                    part(&name[..at], "application/x-directory", b"");
                }
            }
            part(name, "application/octet-stream", bytes);
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let answer = post(
            &self.address,
            &format!("/api/v0/add?{query}"),
            &format!("multipart/form-data; boundary={boundary}"),
            &body,
        );
        let text = String::from_utf8(answer).expect("JSON is text");
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A file's name as clients send it.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(one).collect()
}

/// One POST over HTTP/1.1; the body of an answer with status 200.
fn post(address: &str, target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer.split_off(end);
    assert!(head.starts_with("http/1.1 200"), "{target}: {head}{}", String::from_utf8_lossy(&body));
    if head.contains("transfer-encoding: chunked") { unchunked(&body) } else { body }
}

/// Undoes RFC 9112, 7.1.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&body[..end]).expect("hexadecimal digits");
        let length = usize::from_str_radix(length.trim(), 16).expect("hexadecimal digits");
        if length == 0 {
            return out;
        }
        out.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
    }
}
