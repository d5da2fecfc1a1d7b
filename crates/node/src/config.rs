//! The node's configuration file: JSON, every field optional, unknown fields refused.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hpips_api::routing::{Delegated, DelegatedError};
use serde::{Deserialize, Serialize};

/// Name of the file in a repo.
pub const CONFIG_FILE: &str = "config";
/// Routers at most.
const ROUTERS_MAX: usize = 16;
/// A configuration is a page of text; more is not one.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where a node listens by default: the port of IPFS, over TCP and QUIC. A machine without IPv6 passes over its lines.
const LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/tcp/4001",
    "/ip6/::/tcp/4001",
    "/ip4/0.0.0.0/udp/4001/quic-v1",
    "/ip6/::/udp/4001/quic-v1",
];

/// Which DHTs a node takes part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// That of the joined network; those of IPFS where none is joined or blocks are announced there.
    #[default]
    Auto,
    /// That of the joined network and those of IPFS.
    Dht,
    /// None.
    None,
}

/// Which blocks are told to the DHTs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provide {
    /// Pinned roots and the root of the files: what people ask for by name.
    #[default]
    Roots,
    /// Everything that is pinned.
    Pinned,
    /// Every block.
    All,
}

/// What a person may set for one node. Values that a whole network shares stand in its genesis instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Multiaddresses to listen on. Port 0 picks a free one.
    pub listen: Vec<String>,
    /// Multiaddresses of peers to keep connections with, each ending in `/p2p/...`.
    pub peers: Vec<String>,
    /// Loopback address of the API. Port 0 picks a free one.
    pub api: SocketAddr,
    /// Loopback address of the gateway; none where it is absent. Port 0 picks a free one.
    pub gateway: Option<SocketAddr>,
    /// Whether the gateway says who has what to programs that ask over HTTP (`/routing/v1`).
    pub routing_api: bool,
    /// URLs of routers that are asked who has what, and told what names stand for: `http://host:port`.
    pub delegated_routers: Vec<String>,
    /// Whether programs on this machine must show the token of the `api` file to the RPC too, as they must to
    /// everything that spends coins.
    pub api_token_required: bool,
    /// Bytes of blocks the store may hold; what would make it larger is refused. Absent for no limit.
    pub storage_max: Option<u64>,
    /// What decides the CIDs of what is added: `unixfs-v1-2025` or `unixfs-v0-2015`.
    pub import_profile: String,
    /// Whether peers on the same local network find each other.
    pub mdns: bool,
    /// Which DHTs this node takes part in.
    pub routing: Routing,
    /// Whether blocks that are here are told to the public IPFS network too; joins its DHT.
    pub announce_public: bool,
    /// Which blocks are told to the DHTs.
    pub provide: Provide,
    /// Multiaddresses told to others besides those found out: of a forwarded port, for example.
    pub announce: Vec<String>,
    /// Relays to be reachable through, each ending in `/p2p/...`.
    pub relays: Vec<String>,
    /// Networks with which no connection is made, as `/ip4/192.168.0.0/ipcidr/16`.
    pub filters: Vec<String>,
    /// Whether the router is asked to forward the port (UPnP); never when only loopback is listened on.
    pub upnp: bool,
    /// Above so many peers, those of least use are let go.
    pub peers_high: usize,
    /// So many peers are left then.
    pub peers_low: usize,
    /// Seconds that a block is looked for before it counts as not found.
    pub fetch_seconds: u64,
    /// Bytes a second of blocks and pieces from all peers together. Absent for no bound.
    pub receive_bytes_max: Option<u64>,
    /// Bytes a second of blocks and pieces to all peers together. Absent for no bound.
    pub send_bytes_max: Option<u64>,
    /// Folder of the proving keys, shared by the nodes of a user; by default under the user's cache.
    /// Keys of a test network take about 100 MB.
    pub keys: Option<PathBuf>,
    /// Threads that prove and seal, at nice 10. Each holds a core while a proof is made.
    pub compute_threads: usize,
    /// Bytes of memory that one proof with its keys may take; what needs more is refused. Either circuit of `main`
    /// fits the default.
    pub proving_memory: u64,
    /// What a pledge asks, nano per GiB per 720 windows held.
    pub ask_nano: u64,
    /// Where this node mounts `/ipfs` at start, if anywhere.
    pub mount: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LISTEN.map(str::to_owned).to_vec(),
            peers: Vec::new(),
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, 5001)),
            gateway: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            routing_api: true,
            delegated_routers: Vec::new(),
            api_token_required: false,
            storage_max: None,
            import_profile: "unixfs-v1-2025".into(),
            mdns: true,
            routing: Routing::Auto,
            announce_public: false,
            provide: Provide::Roots,
            announce: Vec::new(),
            relays: Vec::new(),
            filters: Vec::new(),
            upnp: true,
            peers_high: 192,
            peers_low: 96,
            fetch_seconds: 60,
            receive_bytes_max: None,
            send_bytes_max: None,
            keys: None,
            compute_threads: 1,
            proving_memory: hpips_prover::MEMORY_BYTES,
            ask_nano: 50_000_000,
            mount: None,
        }
    }
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Not JSON of this form; the source names line, column and field.
    #[error("{path}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Longer than any configuration.
    #[error("{path} is not a configuration: {bytes} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The API may only listen where nobody else's machine reaches it.
    #[error("the api must listen on a loopback address, not on {0}")]
    PublicApi(SocketAddr),
    /// The gateway as well.
    #[error("the gateway must listen on a loopback address, not on {0}")]
    PublicGateway(SocketAddr),
    /// No profile of this name.
    #[error("import_profile must be unixfs-v1-2025 or unixfs-v0-2015, not {0:?}")]
    Profile(String),
    /// No time at all, or more than a day.
    #[error("fetch_seconds must be 1 to 86400, not {0}")]
    Fetch(u64),
    /// So little that peers give up waiting for a block.
    #[error("{0} must be at least {min} bytes a second, or absent for no bound", min = hpips_net::BANDWIDTH_MIN)]
    Bandwidth(&'static str),
    /// Not the address of a router.
    #[error("delegated_routers")]
    Router(#[from] DelegatedError),
    /// Too many of them.
    #[error("delegated_routers may be {ROUTERS_MAX} at most, not {0}: every one is asked each time")]
    Routers(usize),
    /// Not a network.
    #[error("filters")]
    Filter(#[from] hpips_net::FilterError),
    /// Low over high.
    #[error("peers_low must be at most peers_high, and peers_high 1 to 400, not {low} and {high}")]
    Peers {
        /// As given.
        low: usize,
        /// As given.
        high: usize,
    },
    /// Out of range.
    #[error("compute_threads must be 1 to 256, not {0}")]
    Threads(usize),
}

impl Config {
    /// Reads the file of a repo.
    ///
    /// # Errors
    /// [`ConfigError`] by variant.
    pub fn read(repo: &Path) -> Result<Self, ConfigError> {
        let path = repo.join(CONFIG_FILE);
        let io = |source| ConfigError::Io { path: path.clone(), source };
        let bytes = fs::metadata(&path).map_err(io)?.len();
        if bytes > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong { path, bytes });
        }
        let text = fs::read_to_string(&path).map_err(io)?;
        Self::parse(&path, &text)
    }

    /// Reads the text of a configuration; `path` is where it came from, for messages.
    ///
    /// # Errors
    /// [`ConfigError`] by variant.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_str(text)
            .map_err(|source| ConfigError::Malformed { path: path.to_owned(), source })?;
        config.check()?;
        Ok(config)
    }

    /// Writes the file of a repo.
    ///
    /// # Errors
    /// [`ConfigError::Io`].
    pub fn write(&self, repo: &Path) -> Result<(), ConfigError> {
        let path = repo.join(CONFIG_FILE);
        let mut text = serde_json::to_string_pretty(self).expect("a configuration is plain JSON");
        text.push('\n');
        crate::repo::write_file(&path, text.as_bytes(), 0o600)
            .map_err(|source| ConfigError::Io { path, source })
    }

    /// The routers elsewhere.
    pub(crate) fn routers(&self) -> Result<Vec<Delegated>, ConfigError> {
        if self.delegated_routers.len() > ROUTERS_MAX {
            return Err(ConfigError::Routers(self.delegated_routers.len()));
        }
        Ok(self.delegated_routers.iter().map(|text| text.parse()).collect::<Result<_, DelegatedError>>()?)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !self.api.ip().is_loopback() {
            return Err(ConfigError::PublicApi(self.api));
        }
        if let Some(gateway) = self.gateway.filter(|gateway| !gateway.ip().is_loopback()) {
            return Err(ConfigError::PublicGateway(gateway));
        }
        if hpips_dag::Profile::by_name(&self.import_profile).is_none() {
            return Err(ConfigError::Profile(self.import_profile.clone()));
        }
        self.routers()?;
        for filter in &self.filters {
            filter.parse::<hpips_net::Filter>()?;
        }
        if !(1..=400).contains(&self.peers_high) || self.peers_low > self.peers_high {
            return Err(ConfigError::Peers { low: self.peers_low, high: self.peers_high });
        }
        for (name, most) in
            [("receive_bytes_max", self.receive_bytes_max), ("send_bytes_max", self.send_bytes_max)]
        {
            if most.is_some_and(|most| most < hpips_net::BANDWIDTH_MIN) {
                return Err(ConfigError::Bandwidth(name));
            }
        }
        if !(1..=86_400).contains(&self.fetch_seconds) {
            return Err(ConfigError::Fetch(self.fetch_seconds));
        }
        if !(1..=256).contains(&self.compute_threads) {
            return Err(ConfigError::Threads(self.compute_threads));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let repo = tempfile::tempdir().unwrap();
        let config = Config { peers: vec!["/ip4/10.0.0.1/tcp/4001/p2p/x".into()], ..Config::default() };
        config.write(repo.path()).unwrap();
        assert_eq!(Config::read(repo.path()).unwrap(), config);
        for (text, word) in [
            ("{\"lissten\": []}", "lissten"),
            ("{\"api\": \"0.0.0.0:5001\"}", "loopback"),
            ("{\"compute_threads\": 0}", "compute_threads"),
            ("{\"delegated_routers\": [\"https://x\"]}", "http only"),
            ("[", "EOF"),
        ] {
            fs::write(repo.path().join(CONFIG_FILE), text).unwrap();
            let error = Config::read(repo.path()).unwrap_err();
            let said = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(said.contains(word), "{text}: {said}");
        }
        fs::write(repo.path().join(CONFIG_FILE), "{}").unwrap();
        assert_eq!(Config::read(repo.path()).unwrap(), Config::default());
    }
}
