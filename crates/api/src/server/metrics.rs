//! `/metrics`: what is measured, in Prometheus' text format (`docs/metrics.md`).
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Figures are gathered when they are asked for; nothing is
//! counted for this page alone.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use hpips_store::PinKind;

use super::chain::{account_info, pledge_info};
use super::content::blocking;
use super::node::memory_bytes;
use super::parts::{Network, Parts};
use crate::error::ApiError;
use crate::view::{AccountInfo, PledgeInfo, ProvingState, Version};

/// Where it is.
pub(super) const PATH: &str = "/metrics";
/// Name and version of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// When the server began to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began(pub(super) Instant);

pub(super) async fn page(
    State(parts): State<Parts>,
    Extension(Began(began)): Extension<Began>,
) -> Result<impl IntoResponse, ApiError> {
    let figures = blocking(move || Figures::gather(&parts, began.elapsed())).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], figures.text()))
}

/// Everything that is shown, at one moment.
struct Figures {
    version: Version,
    memory_bytes: Option<u64>,
    uptime: Duration,
    peers_inbound: u64,
    peers_outbound: u64,
    /// Bytes received and sent.
    traffic: (u64, u64),
    bitswap: hpips_net::Stats,
    store: hpips_store::Stat,
    pins_recursive: u64,
    pins_direct: u64,
    pin_requests: [(&'static str, u64); 4],
    network: Option<NetworkFigures>,
}

/// What a node has to show that joined a network.
struct NetworkFigures {
    height: u64,
    tip: u64,
    blocks: u64,
    nullified: u64,
    waiting: u64,
    block_age: Option<Duration>,
    finality: Option<Duration>,
    account: AccountInfo,
    pledge: Option<PledgeInfo>,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Figures {
    /// Blocks on the disk.
    fn gather(parts: &Parts, uptime: Duration) -> Result<Self, ApiError> {
        let peers = parts.net.peers();
        let outbound = peers.iter().filter(|peer| peer.is_outbound).count();
        // Before the pins, so that a request that is shown as pinned has its pin among them.
        let pin_requests = parts.pinning.counts();
        let pins = parts.store.pins();
        let recursive = pins.iter().filter(|pin| pin.kind == PinKind::Recursive).count();
        Ok(Self {
            version: Version::default(),
            memory_bytes: memory_bytes(),
            uptime,
            peers_inbound: number(peers.len() - outbound),
            peers_outbound: number(outbound),
            traffic: parts.net.traffic(),
            bitswap: parts.net.bitswap_stats(),
            store: parts.store.stat().map_err(|error| ApiError::failed(&error))?,
            pins_recursive: number(recursive),
            pins_direct: number(pins.len() - recursive),
            pin_requests,
            network: parts.network.as_ref().map(NetworkFigures::gather),
        })
    }

    fn text(&self) -> String {
        let mut page = Page::default();
        let Version { version, system } = &self.version;
        let name = "hpips_build_info";
        page.head(Kind::Gauge, name, "The program: version and system, always 1.");
        page.sample(name, &[("version", version), ("system", system)], 1);
        if let Some(bytes) = self.memory_bytes {
            page.gauge("process_resident_memory_bytes", "Resident memory of the process.", bytes);
        }
        page.gauge("hpips_uptime_seconds", "Since the node began to answer.", seconds(self.uptime));

        let peers = [("inbound", self.peers_inbound), ("outbound", self.peers_outbound)];
        page.gauges("hpips_peers", "Peers with an open connection, by who dialed.", "direction", &peers);
        let (received, sent) = self.traffic;
        page.counter("hpips_net_received_bytes_total", "Bytes received on streams of this node.", received);
        page.counter("hpips_net_sent_bytes_total", "Bytes sent on streams of this node.", sent);
        self.bitswap(&mut page);
        self.store(&mut page);
        if let Some(network) = &self.network {
            network.write(&mut page);
        }
        page.0
    }

    fn bitswap(&self, page: &mut Page) {
        // Field by field: one that is added must be shown.
        let hpips_net::Stats {
            blocks_received,
            bytes_received,
            blocks_sent,
            bytes_sent,
            blocks_late,
            bytes_late,
            blocks_unwanted,
            messages_refused,
            wants_dropped,
            wants_waiting,
        } = self.bitswap;
        for (name, help, value) in [
            ("hpips_bitswap_received_blocks_total", "Blocks received that were asked for.", blocks_received),
            (
                "hpips_bitswap_received_bytes_total",
                "Bytes of blocks received that were asked for.",
                bytes_received,
            ),
            ("hpips_bitswap_sent_blocks_total", "Blocks sent.", blocks_sent),
            ("hpips_bitswap_sent_bytes_total", "Bytes of blocks sent.", bytes_sent),
            ("hpips_bitswap_late_blocks_total", "Blocks that came when no longer needed.", blocks_late),
            (
                "hpips_bitswap_late_bytes_total",
                "Bytes of blocks that came when no longer needed.",
                bytes_late,
            ),
            ("hpips_bitswap_unwanted_blocks_total", "Blocks nobody asked for, dropped.", blocks_unwanted),
            (
                "hpips_bitswap_refused_messages_total",
                "Messages over the limits or malformed.",
                messages_refused,
            ),
            ("hpips_bitswap_dropped_wants_total", "Wants of others dropped over the limits.", wants_dropped),
        ] {
            page.counter(name, help, value);
        }
        page.gauge(
            "hpips_bitswap_waiting_wants",
            "Wants of others remembered until blocks come.",
            wants_waiting,
        );
    }

    fn store(&self, page: &mut Page) {
        let store = &self.store;
        page.gauge("hpips_store_blocks", "Different blocks in the store.", store.blocks);
        page.gauge("hpips_store_bytes", "Bytes of all packs, which the limit is about.", store.bytes);
        page.gauge("hpips_store_live_bytes", "Bytes of blocks in packs that are alive.", store.live_bytes);
        page.gauge("hpips_store_index_bytes", "Bytes of the index.", store.index_bytes);
        if let Some(bytes) = store.bytes_max {
            page.gauge("hpips_store_limit_bytes", "Bytes the packs may have.", bytes);
        }
        let pins = [("recursive", self.pins_recursive), ("direct", self.pins_direct)];
        page.gauges("hpips_pins", "Pinned roots, by how far the pin reaches.", "kind", &pins);
        let help = "Requests of the pinning service, by how they stand.";
        page.gauges("hpips_pin_requests", help, "status", &self.pin_requests);
    }
}

impl NetworkFigures {
    fn gather(network: &Network) -> Self {
        let stats = network.chain.stats();
        let id = network.wallet.account();
        Self {
            height: network.chain.height().get(),
            tip: stats.tip().get(),
            blocks: stats.blocks,
            nullified: stats.nullified,
            waiting: number(stats.waiting),
            block_age: network.feed.block_age(),
            finality: stats.finality_percentile_ms(50).map(Duration::from_millis),
            account: account_info(&network.chain.state(), &id),
            pledge: pledge_info(network, &id),
        }
    }

    fn write(&self, page: &mut Page) {
        page.gauge("hpips_chain_height", "Newest finalized height of this node.", self.height);
        page.gauge("hpips_chain_tip_height", "How far the chain is, as peers say too.", self.tip);
        page.counter("hpips_chain_blocks_total", "Blocks finalized since the start.", self.blocks);
        page.counter("hpips_chain_nullified_total", "Views without a block since the start.", self.nullified);
        page.gauge("hpips_chain_waiting_transactions", "Transactions that wait for a block.", self.waiting);
        if let Some(age) = self.block_age {
            page.gauge("hpips_chain_block_age_seconds", "Since the newest block arrived.", seconds(age));
        }
        if let Some(time) = self.finality {
            let help = "Median time from a proposal's first sight to its state on disk.";
            page.gauge("hpips_chain_finality_seconds", help, seconds(time));
        }
        page.gauge(
            "hpips_account_balance_nano",
            "Free coins of the node's account.",
            self.account.balance.get(),
        );
        page.gauge("hpips_account_locked_nano", "Coins locked as collateral.", self.account.locked.get());
        page.gauge(
            "hpips_account_owed_nano",
            "Fees owed, taken from the first reward.",
            self.account.owed.get(),
        );
        let Some(pledge) = &self.pledge else { return };
        page.gauge("hpips_pledge_sealed_bytes", "Bytes sealed and proven.", pledge.sealed_bytes);
        page.gauge("hpips_pledge_open_bytes", "Bytes open for deals as offered.", pledge.open_bytes);
        page.gauge("hpips_pledge_used_bytes", "Billed bytes of slots held or reserved.", pledge.used_bytes);
        page.gauge("hpips_pledge_ask_nano", "What is asked for a GiB and 720 windows.", pledge.ask.get());
        let help = "Windows proven, of those that the chain still counts.";
        page.gauge("hpips_pledge_proven_windows", help, pledge.windows_proven);
        page.gauge("hpips_pledge_due_windows", "Windows that were due.", pledge.windows_due);
        let help = "Windows missed in a row, the worst of all sets.";
        page.gauge("hpips_pledge_missed_windows", help, pledge.missed_in_row);
        let Some(work) = &pledge.work else { return };
        page.gauge("hpips_provider_sectors", "Sectors complete on disk.", work.sectors);
        let (sealed, all) = work.sealing;
        page.gauge("hpips_provider_sealing_nodes", "Nodes to seal of the sectors at work.", all);
        page.gauge("hpips_provider_sealed_nodes", "Nodes sealed of the sectors at work.", sealed);
        page.gauge("hpips_provider_sectors_wanted", "Sectors there are to be.", work.sectors_wanted);
        let waiting = work.proving.iter().filter(|proof| proof.state == ProvingState::Waiting).count() as u64;
        page.gauge("hpips_provider_proofs_waiting", "Proofs that wait for their turn.", waiting);
        page.gauge("hpips_provider_pieces", "Pieces complete on disk.", work.pieces);
        page.counter("hpips_provider_proofs_total", "Window proofs made since the start.", work.proofs);
        if let Some(time) = work.proof_ms {
            let help = "What the last proof took.";
            page.gauge("hpips_provider_proof_seconds", help, seconds(Duration::from_millis(time)));
        }
        let trouble = u64::from(work.trouble.is_some());
        page.gauge(
            "hpips_provider_trouble",
            "1 when something went wrong last, as hpips status says.",
            trouble,
        );
    }
}

/// Seconds as the format has them.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It only grows while the node runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// The page as far as it is written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(Kind::Counter, name, help);
        self.sample(name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(Kind::Gauge, name, help);
        self.sample(name, &[], value);
    }

    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.head(Kind::Gauge, name, help);
        for (text, value) in values {
            self.sample(name, &[(label, text)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hpips_types::TokenAmount;

    use super::*;
    use crate::view::{ProviderWork, Proving};

    const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

    /// Figures of a node that has all there is to show.
    fn full() -> Figures {
        let work = ProviderWork {
            sectors: 1,
            sealing: (2, 3),
            sectors_wanted: 6,
            sealing_left_ms: Some(90_000),
            proving: vec![
                Proving { circuit: "window".into(), state: ProvingState::Computing },
                Proving { circuit: "activation".into(), state: ProvingState::Waiting },
            ],
            pieces: 4,
            proofs: 5,
            proof_ms: Some(1500),
            trouble: Some("a".into()),
        };
        let pledge = PledgeInfo {
            sealed_bytes: 1,
            open_bytes: 2,
            used_bytes: 3,
            ask: TokenAmount::new(4),
            windows_proven: 5,
            windows_due: 6,
            missed_in_row: 7,
            work: Some(work),
        };
        let account = AccountInfo {
            address: String::new(),
            balance: TokenAmount::new(1),
            locked: TokenAmount::new(2),
            owed: TokenAmount::new(3),
            nonce: 0,
        };
        Figures {
            version: Version { version: "0\"1\\".into(), system: "s\n".into() },
            memory_bytes: Some(1),
            uptime: Duration::from_millis(2500),
            peers_inbound: 1,
            peers_outbound: 2,
            traffic: (3, 4),
            bitswap: hpips_net::Stats { blocks_sent: 9, ..hpips_net::Stats::default() },
            store: hpips_store::Stat {
                blocks: 1,
                bytes: u64::MAX,
                live_bytes: 3,
                index_bytes: 4,
                bytes_max: Some(5),
                path: "/".into(),
                version: 1,
            },
            pins_recursive: 1,
            pins_direct: 2,
            pin_requests: [("queued", 1), ("pinning", 2), ("pinned", 3), ("failed", 4)],
            network: Some(NetworkFigures {
                height: 1,
                tip: 2,
                blocks: 3,
                nullified: 4,
                waiting: 5,
                block_age: Some(Duration::from_secs(1)),
                finality: Some(Duration::from_millis(250)),
                account,
                pledge: Some(pledge),
            }),
        }
    }

    #[test]
    fn the_document_names_what_is_shown_and_nothing_else() {
        let text = full().text();
        let shown: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        // | `name` | type | unit | meaning |
        let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
        let named: Vec<(&str, &str)> = rows
            .map(|row| {
                let (name, rest) = row.split_once("` | ").unwrap();
                (name, rest.split(" | ").next().unwrap())
            })
            .collect();
        assert_eq!(named.len(), named.iter().collect::<std::collections::BTreeSet<_>>().len(), "named twice");
        assert_eq!(named.into_iter().collect::<BTreeMap<_, _>>(), shown);
    }

    #[test]
    fn a_page_as_the_format_has_it() {
        let text = full().text();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            r#"hpips_build_info{version="0\"1\\",system="s\n"} 1"#,
            "hpips_uptime_seconds 2.5",
            r#"hpips_peers{direction="outbound"} 2"#,
            "hpips_bitswap_sent_blocks_total 9",
            "hpips_store_bytes 18446744073709551615",
            r#"hpips_pin_requests{status="failed"} 4"#,
            "hpips_chain_finality_seconds 0.25",
            "hpips_provider_proof_seconds 1.5",
        ] {
            assert!(lines.contains(&line), "{line} is not in {text}");
        }
        assert!(text.ends_with('\n'));
        // Each name once, with help and type before its samples.
        let mut heads = std::collections::BTreeSet::new();
        for three in lines.windows(3) {
            if let Some(head) = three[0].strip_prefix("# HELP ") {
                let name = head.split(' ').next().unwrap();
                assert!(heads.insert(name), "{name} comes twice");
                assert!(three[1].starts_with(&format!("# TYPE {name} ")) && three[2].starts_with(name));
            }
        }
    }

    #[test]
    fn a_plain_node_shows_no_chain() {
        let text = Figures { network: None, memory_bytes: None, ..full() }.text();
        assert!(!text.contains("hpips_chain") && !text.contains("process_"));
    }
}
