//! The program itself among peers: how soon what it adds is found, and what it costs at rest.

use super::*;
use crate::node::Node;
use crate::table::fill;

/// Nodes of the DHT besides the program.
const NODES: u8 = 20;
/// Peers that are connected at rest.
const PEERS: u8 = 100;
/// How long it is watched at rest.
const WATCHED: Duration = Duration::from_secs(30);
/// Clock ticks a second of `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;

async fn in_dht(seed: u8) -> Net {
    let mut config = Config::loopback([seed; 32]);
    config.dhts = hpips_net::Dht::ipfs().to_vec();
    start(config, NoBlocks).await
}

/// A root that was just added, looked for from the other end of a chain of nodes.
pub(super) fn found(runtime: &Runtime, table: &mut Table) {
    let mut nets: Vec<Net> = Vec::new();
    for seed in 1..=NODES {
        let net = runtime.block_on(in_dht(seed));
        if let Some(last) = nets.last() {
            runtime.block_on(join(&net, last));
        }
        nets.push(net);
    }
    let node = Node::start();
    node.ok(&["swarm", "connect", &nets[0].full_addrs()[0].to_string()]);
    let mut worst = Duration::ZERO;
    let last = nets.last().expect("twenty nodes");
    for round in 0..10u64 {
        let file = node.folder().join("file");
        let mut bytes = vec![0; 100_000];
        fill(&mut bytes, round + 1);
        std::fs::write(&file, &bytes).expect("room on the disk");
        let root = node.ok(&["add", "--local", "-Q", &file.to_string_lossy()]);
        let root: Cid = root.trim().parse().expect("a CID");
        let begin = Instant::now();
        runtime.block_on(async { while last.routing().find_providers(root).recv().await.is_none() {} });
        // The first waits for tables that fill while peers get to know each other.
        if round > 0 {
            worst = worst.max(begin.elapsed());
        }
    }
    let limit = Some(("limit", Duration::from_secs(1)));
    table.time(&format!("daemon::add to found, worst of 9/nodes={NODES}"), worst, limit, "<= 1 s");
    for net in nets {
        runtime.block_on(net.shutdown());
    }
}

/// Memory and processor of a node that nobody asks for anything.
pub(super) fn rest(runtime: &Runtime, table: &mut Table) {
    let node = Node::start();
    let id = node.ok(&["id", "-f", "<addrs>"]);
    let address = id.lines().find(|line| line.contains("/tcp/")).expect("a TCP address");
    let mut nets = Vec::new();
    for seed in 1..=PEERS {
        let net = runtime.block_on(in_dht(seed));
        runtime.block_on(net.dial(address.parse().expect("an address"))).expect("it listens");
        nets.push(net);
    }
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap_or_default();
        let fields: Vec<f64> = stat.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
        (fields[13] + fields[14]) / TICKS
    };
    // What connecting costs is not rest.
    std::thread::sleep(WATCHED);
    let before = used();
    std::thread::sleep(WATCHED);
    let share = (used() - before) / WATCHED.as_secs_f64() * 100.0;
    let peers = node.ok(&["swarm", "peers"]).lines().count();
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let rss = line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0;
    let row = |what: String, figure, reach: &str| Row {
        what,
        figure,
        limit: String::new(),
        ratio: None,
        reach: reach.into(),
    };
    table.rows.push(row(
        format!("daemon::at rest, memory/connections={peers}"),
        format!("{rss:.0} MiB"),
        "<= 150 MB",
    ));
    table.rows.push(row(
        format!("daemon::at rest, processor/connections={peers}"),
        format!("{share:.1} % of a core"),
        "<= 2 %",
    ));
    for net in nets {
        runtime.block_on(net.shutdown());
    }
}
