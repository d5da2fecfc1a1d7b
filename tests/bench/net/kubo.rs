//! The same file between HPIPS and Kubo in every direction, each receiver storing what it gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use hpips_dag::{Block, children};
use tempfile::TempDir;

/// How long Kubo may take to start on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// A daemon with a repo of its own that listens on loopback.
struct Kubo {
    program: PathBuf,
    folder: TempDir,
    daemon: Option<Child>,
}

impl Kubo {
    fn find() -> Option<PathBuf> {
        let named = std::env::var_os("HPIPS_KUBO").filter(|named| !named.is_empty()).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path =
            || std::env::split_paths(&path).map(|folder| folder.join("ipfs")).find(|path| path.is_file());
        named.or_else(on_path)
    }

    fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut kubo = Self { program: program.into(), folder, daemon: None };
        kubo.ok(&["init", "--profile=test"]);
        kubo.ok(&["bootstrap", "rm", "--all"]);
        kubo.daemon = Some(kubo.command(&["daemon"]).stdout(Stdio::null()).spawn().expect("ipfs starts"));
        let end = Instant::now() + START;
        // The file that names the port cannot be waited for in another way; a command would lock the repo.
        while !kubo.is_listening() {
            assert!(Instant::now() < end, "the ipfs daemon does not listen");
            std::thread::yield_now();
        }
        kubo
    }

    fn is_listening(&self) -> bool {
        let api = fs::read_to_string(self.folder.path().join("api")).unwrap_or_default();
        let port = api.trim().strip_prefix("/ip4/127.0.0.1/tcp/").and_then(|port| port.parse::<u16>().ok());
        port.is_some_and(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("IPFS_PATH", self.folder.path()).stderr(Stdio::null()).stdin(Stdio::null());
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("ipfs starts");
        assert!(output.status.success(), "ipfs {args:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn address(&self) -> String {
        let all = self.ok(&["id", "-f", "<addrs>"]);
        let tcp = |line: &&str| line.starts_with("/ip4/127.0.0.1/tcp/") && !line.contains("/ws");
        all.lines().find(tcp).expect("a TCP address").to_owned()
    }

    /// Fetches everything below a root into its repo, then forgets it again.
    fn takes(&self, root: &str) -> Duration {
        let begin = Instant::now();
        self.ok(&["pin", "add", root]);
        let took = begin.elapsed();
        self.ok(&["pin", "rm", root]);
        self.ok(&["repo", "gc", "-q"]);
        took
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Fetches everything below a root into a new store.
async fn takes(reader: &Net, root: Cid) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path().join("store"), hpips_store::Config::default()).expect("a store");
    let (sender, mut received) = tokio::sync::mpsc::channel::<(Cid, Bytes)>(64);
    let begin = Instant::now();
    let writer = tokio::task::spawn_blocking(move || {
        // What waits is written together, as the client does it.
        let mut waiting = Vec::new();
        while received.blocking_recv_many(&mut waiting, 64) > 0 {
            let blocks = waiting.drain(..).map(|(cid, bytes)| Block { cid, bytes });
            store.put_built(blocks).expect("room on the disk");
        }
    });
    let session = Session::new(reader, Vec::new());
    let mut level = vec![root];
    while !level.is_empty() {
        let mut stream = session.get(std::mem::take(&mut level));
        while let Some(item) = stream.next().await {
            let (cid, block) = item.expect("the one peer has it");
            level.extend(children(&cid, &block).expect("a sound block"));
            sender.send((cid, block)).await.expect("the writer goes on");
        }
    }
    drop(sender);
    writer.await.expect("the writer goes on");
    begin.elapsed()
}

/// Measures all four directions with both block sizes.
pub(super) fn run(runtime: &Runtime, size: u64, table: &mut Table) {
    let Some(program) = Kubo::find() else {
        table.note("kubo not installed: no figures beside it (skipped)");
        return;
    };
    for (name, chunker, length) in
        [("1 MiB", "--chunker=size-1048576", 1 << 20), ("256 KiB", "--chunker=size-262144", 256 << 10)]
    {
        let (from, to) = (Kubo::start(&program), Kubo::start(&program));
        let bytes: Vec<u8> = blocks(size, length, 6).into_iter().flat_map(|(_, block)| block).collect();
        let path = from.folder.path().join("file");
        fs::write(&path, &bytes).expect("room on the disk");
        let root =
            from.ok(&["add", "-Q", "--cid-version=1", "--raw-leaves", chunker, &path.to_string_lossy()]);
        let cid: Cid = root.parse().expect("a CID");
        to.ok(&["swarm", "connect", &from.address()]);
        let kubo = (0..ROUNDS).map(|_| to.takes(&root)).min().expect("rounds");
        // Our source gets its copy from Kubo, so that all of them have the same blocks.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store =
            Store::open(folder.path().join("store"), hpips_store::Config::default()).expect("a store");
        let reader = runtime.block_on(node(40, NoBlocks));
        runtime
            .block_on(async { reader.dial(from.address().parse().expect("an address")).await })
            .expect("Kubo");
        let from_kubo = (0..ROUNDS).map(|_| runtime.block_on(takes(&reader, cid))).min().expect("rounds");
        runtime.block_on(async {
            let session = Session::new(&reader, Vec::new());
            let top = session.get_one(cid, START).await.expect("Kubo has it");
            let leaves = children(&cid, &top).expect("a file's root");
            let mut level = vec![(cid, top)];
            let mut next = leaves;
            while !next.is_empty() {
                let mut stream = session.get(std::mem::take(&mut next));
                while let Some(item) = stream.next().await {
                    let (cid, block) = item.expect("Kubo has it");
                    next.extend(children(&cid, &block).expect("a sound block"));
                    level.push((cid, block));
                    if level.len() >= 64 {
                        store.put(std::mem::take(&mut level)).expect("room on the disk");
                    }
                }
            }
            store.put(level).expect("room on the disk");
        });
        let ours = runtime.block_on(node(41, store));
        drop(from);
        to.ok(&["swarm", "connect", &ours.full_addrs()[0].to_string()]);
        let to_kubo = (0..ROUNDS).map(|_| to.takes(&root)).min().expect("rounds");
        drop(to);
        let last = runtime.block_on(node(42, NoBlocks));
        runtime.block_on(join(&last, &ours));
        let between = (0..ROUNDS).map(|_| runtime.block_on(takes(&last, cid))).min().expect("rounds");
        let speed = |took| a_second(bytes.len() as u64, took);
        let limit = Some(("Kubo to Kubo", speed(kubo)));
        table.speed(&format!("kubo to kubo/block={name}"), speed(kubo), None, "a limit");
        table.speed(&format!("kubo to hpips/block={name}"), speed(from_kubo), limit, "1.0");
        table.speed(&format!("hpips to kubo/block={name}"), speed(to_kubo), limit, "1.0");
        table.speed(&format!("hpips to hpips/block={name}"), speed(between), limit, "3");
        for net in [reader, ours, last] {
            runtime.block_on(net.shutdown());
        }
    }
}
