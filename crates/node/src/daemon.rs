//! The running node: the rooms joined, watched over, and stopped in order.

use std::future::pending;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hpips_api::gateway;
use hpips_api::pinning::{self, Pinning};
use hpips_api::routing::Routers;
use hpips_api::rpc::Online;
use hpips_api::{BindError, Endpoint, EndpointError, Feed, Network, Parts, Server};
use hpips_chain::{Chain, Role, Seat, SeatError, Wallet};
use hpips_client::Client;
use hpips_crypto::sign::SecretKey;
use hpips_ledger::{GENESIS_BYTES_MAX, Genesis};
use hpips_net::{Dht, Multiaddr, Net};
use hpips_prover::Prover;
use hpips_provider::Provider;
use hpips_store::Store;
use hpips_types::{TokenAmount, cbor};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::{Config, ConfigError, Routing};
use crate::host::{Fetcher, Process};
use crate::repo::{Repo, RepoError};
use crate::verifier::LateVerifier;

/// Folder of the block store in a repo.
pub const BLOCKS: &str = "blocks";
/// Folder of the proving keys under the user's cache.
pub const KEYS: &str = "keys";
/// File of a repo with the token of the pinning service.
const PINS_TOKEN_FILE: &str = "pins-token";
/// File of a repo that says where the gateway listens, while it does.
const GATEWAY_FILE: &str = "gateway";
/// How long an orderly end may take before the process ends anyway. Everything acknowledged is on disk
/// at any moment, so nothing is lost then.
const SHUTDOWN: Duration = Duration::from_secs(8);
/// Disk that a provider leaves free whatever it is asked for, bytes.
const RESERVE_BYTES: u64 = 64 << 20;

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The repo.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The blocks.
    #[error("cannot open the blocks")]
    Store(#[from] hpips_store::OpenError),
    /// A value of the configuration.
    #[error("a setting in config is not usable")]
    Config(#[source] ConfigError),
    /// An address of the configuration.
    #[error("{0:?} in config is no multiaddress")]
    Address(String),
    /// The network.
    #[error("cannot start the network")]
    Net(#[from] hpips_net::StartError),
    /// Genesis.
    #[error("genesis is not usable")]
    Genesis(#[source] cbor::CborError),
    /// The seat.
    #[error("the committee seat is not usable")]
    Seat(#[from] SeatError),
    /// The chain.
    #[error("cannot start the chain")]
    Chain(#[from] hpips_chain::StartError),
    /// The API's address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The API's file.
    #[error("cannot say where the api listens")]
    Endpoint(#[from] EndpointError),
    /// The requests of the pinning service.
    #[error("cannot read the pin requests of the repo")]
    Pinning(#[source] std::io::Error),
    /// The token of the pinning service.
    #[error("{} is not usable: a token of 16 to 256 visible characters belongs there; remove it for a new one", path.display())]
    PinsToken {
        /// Where it lies.
        path: PathBuf,
        /// Why it is not read or written.
        #[source]
        source: std::io::Error,
    },
    /// The client.
    #[error("cannot start the client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system has no randomness.
    #[error("no randomness for the api's token")]
    Randomness,
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// A part of the node ended by itself.
    #[error("the node stopped: {0}")]
    Stopped(String),
}

/// Runs a node until it is told to stop, by signal or through the API.
///
/// `ready` is called once, when the API answers.
///
/// # Errors
/// [`RunError`] by variant; [`RunError::Stopped`] when a part of it ended by itself.
pub async fn run(repo: Repo, ready: impl FnOnce(&Endpoint)) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let config = repo.config()?;
    // Before the address: of two nodes on one repo the second must hear that the repo is in use.
    let store = crate::offline::open_store(&repo)?;
    let server = Server::bind(config.api)
        .await?
        .with_rpc_token(config.api_token_required)
        .with_pins_token(pins_token(&repo)?);
    let node = Node::start(&repo, &config, store).await?;
    let endpoint = Endpoint { address: server.address(), token: token()?, pid: std::process::id() };
    let (end, ended) = watch::channel(false);
    let routers = config.routers().map_err(RunError::Config)?;
    let routers =
        Routers::new(node.parts.net.clone(), node.parts.store.clone(), node.parts.network.clone(), routers);
    if let Some(router) = routers.elsewhere() {
        node.parts.net.routing().also_ask(router);
    }
    let names = crate::offline::names(&repo, routers)?;
    let mut serving = {
        let mut ended = ended.clone();
        let online = Online {
            net: node.parts.net.clone(),
            network: node.parts.network.clone(),
            host: Arc::clone(&node.parts.host),
        };
        let state = crate::offline::state(&repo, node.parts.store.clone(), names.clone(), Some(online))?;
        let routes = hpips_api::routes(node.parts.clone()).merge(hpips_api::rpc::router(state));
        tokio::spawn(server.serve(endpoint.token.clone(), routes, async move {
            let _ = ended.wait_for(|end| *end).await;
        }))
    };
    let gateway = match config.gateway {
        Some(address) => {
            let settings = gateway::Config { routing: config.routing_api, ..gateway::Config::default() };
            crate::gateway::start(address, &node.parts, names.clone(), settings, ended.clone()).await
        }
        None => None,
    };
    if let Some((address, _)) = &gateway {
        // Where it listens, as Kubo writes it. Whoever looks for it can do without.
        let url = format!("http://{address}");
        if let Err(error) = crate::repo::write_file(&repo.path().join(GATEWAY_FILE), url.as_bytes(), 0o600) {
            tracing::warn!(%error, "the file that says where the gateway listens is not written");
        }
    }
    let republishing = tokio::spawn(crate::republish::run(names, crate::offline::keys(&repo)?));
    endpoint.write(repo.path())?;
    if let Some(path) = &config.mount
        && let Err(reason) = node.parts.host.mount(path)
    {
        tracing::warn!(%reason, "not mounted");
    }
    ready(&endpoint);

    let mut asked = node.stop.subscribe();
    let mut fault = node.parts.network.as_ref().map(|network| network.chain.fault());
    let chain_ended = async {
        match &mut fault {
            Some(fault) => fault.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()),
            None => pending().await,
        }
    };
    let outcome = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            Ok(())
        }
        reason = asked.wait_for(Option::is_some) => match reason.ok().and_then(|reason| reason.clone()) {
            Some(reason) if reason == ASKED => Ok(()),
            reason => Err(reason.unwrap_or_default()),
        },
        reason = chain_ended => Err(format!("the chain ended: {}", reason.unwrap_or_default())),
        result = &mut serving => Err(format!("the api ended: {result:?}")),
    };
    republishing.abort();
    end.send_replace(true);
    let _ = std::fs::remove_file(repo.path().join(GATEWAY_FILE));
    if let Some((_, gateway)) = gateway {
        // It ends by itself; what it still reads must not outlive the store.
        let _ = tokio::time::timeout(SHUTDOWN, gateway).await;
    }
    Endpoint::remove(repo.path());
    if tokio::time::timeout(SHUTDOWN, node.shut_down()).await.is_err() {
        tracing::warn!("not everything stopped in time");
    }
    outcome.map_err(RunError::Stopped)
}

/// What [`Host::shut_down`] says.
pub(crate) const ASKED: &str = "asked to";

/// The rooms of a running node.
struct Node {
    parts: Parts,
    stop: watch::Sender<Option<String>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(repo: &Repo, config: &Config, store: Store) -> Result<Self, RunError> {
        let seed = repo.seed()?;
        let genesis = repo.genesis()?.map(|genesis| decode_genesis(&genesis)).transpose();
        let genesis = genesis.map_err(RunError::Genesis)?;
        let chain = genesis.as_ref().map(|genesis| genesis.chain_id().to_string());
        let net_config = net_config(repo, config, seed.clone(), chain.as_deref())?;
        let net = Net::start(net_config, Arc::new(store.clone())).await?;
        store.on_put(net.blocks_arrived());
        let (stop, _) = watch::channel(None);
        let mut tasks = vec![crate::providing::start(&net, &store, config.provide)];
        let network = match genesis {
            Some(genesis) => Some(join(repo, config, genesis, &seed, &net, &store, &stop, &mut tasks)?),
            None => None,
        };
        let client = network.as_ref().map(|network| network.client.clone());
        let pins = pinning::Parts {
            store: store.clone(),
            net: net.clone(),
            client: client.clone(),
            repo: repo.path().to_owned(),
        };
        let pinning = Pinning::start(pins, pinning::Config::of(&net)).map_err(RunError::Pinning)?;
        let host = Arc::new(Process::new(Fetcher::new(&net, &store, client), stop.clone()));
        let settings = crate::offline::settings(repo)?;
        let parts = Parts { net, store, repo: repo.path().to_owned(), network, host, settings, pinning };
        Ok(Self { parts, stop, tasks })
    }

    /// Takes nothing in any more, lets go of the folder, stops the roles, then what they stand on.
    async fn shut_down(self) {
        let Self { parts, tasks, .. } = self;
        let host = Arc::clone(&parts.host);
        if let Ok(Err(reason)) = tokio::task::spawn_blocking(move || host.unmount()).await {
            tracing::warn!(%reason, "left mounted");
        }
        parts.pinning.shutdown().await;
        if let Some(network) = &parts.network {
            let provider = network.provider.borrow().clone();
            if let Some(provider) = provider {
                provider.shutdown().await;
            }
            network.chain.shutdown().await;
        }
        parts.net.shutdown().await;
        for task in tasks {
            task.abort();
        }
        if let Err(error) = parts.store.flush() {
            tracing::warn!(%error, "the store's index will be completed at the next start");
        }
    }
}

/// What the network needs to know; `chain` is the name of the network that was joined.
fn net_config(
    repo: &Repo,
    config: &Config,
    seed: Zeroizing<[u8; 32]>,
    chain: Option<&str>,
) -> Result<hpips_net::Config, RunError> {
    let parse = |texts: &[String]| -> Result<Vec<Multiaddr>, RunError> {
        let one = |text: &String| text.parse::<Multiaddr>().map_err(|_| RunError::Address(text.clone()));
        texts.iter().map(one).collect()
    };
    let own = chain.map(Dht::of_network);
    let with_ipfs = match config.routing {
        Routing::None => false,
        Routing::Dht => true,
        Routing::Auto => chain.is_none() || config.announce_public,
    };
    let mut dhts = Vec::new();
    if config.routing != Routing::None {
        dhts.extend(own);
        dhts.extend(with_ipfs.then(Dht::ipfs).into_iter().flatten());
    }
    let listen = parse(&config.listen)?;
    let is_loopback = |address: &Multiaddr| {
        let text = address.to_string();
        text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
    };
    let filters = config.filters.iter().map(|text| text.parse().map_err(ConfigError::from));
    Ok(hpips_net::Config {
        seed,
        upnp: config.upnp && !listen.iter().all(is_loopback),
        listen,
        peers: parse(&config.peers)?,
        agent: concat!("hpips/", env!("CARGO_PKG_VERSION")).into(),
        mdns: config.mdns,
        dhts,
        announces_public: config.announce_public,
        announce: parse(&config.announce)?,
        relays: parse(&config.relays)?,
        private_key: repo.private_key()?,
        filters: filters.collect::<Result<_, _>>().map_err(RunError::Config)?,
        limits: hpips_net::Limits {
            peers_high: config.peers_high,
            peers_low: config.peers_low,
            find: Duration::from_secs(config.fetch_seconds),
            receive_bytes_max: config.receive_bytes_max,
            send_bytes_max: config.send_bytes_max,
            ..hpips_net::Limits::default()
        },
    })
}

/// Starts the chain at once, and the provider when the proving keys are there.
#[allow(clippy::too_many_arguments, reason = "called once, with what the rooms are made of")]
fn join(
    repo: &Repo,
    config: &Config,
    genesis: Genesis,
    seed: &Zeroizing<[u8; 32]>,
    net: &Net,
    store: &Store,
    stop: &watch::Sender<Option<String>>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<Network, RunError> {
    let seat = repo.seat_path();
    let role = if seat.exists() { Role::Validator(Box::new(Seat::load(&seat)?)) } else { Role::Follower };
    let committee = genesis.validators.clone();
    let params = genesis.params.clone();
    let verifier = Arc::new(LateVerifier::default());
    let dir = repo.folder("chain")?;
    let chain = Chain::start(hpips_chain::Config { dir, genesis, role, verifier: verifier.clone() }, net)?;
    let (feed, task) = Feed::start(&chain);
    tasks.push(task);
    let wallet = Wallet::new(chain.clone(), SecretKey::from_seed(seed));

    let prover = prover_config(repo, config);
    let (started, provider) = watch::channel(None);
    let parts = (net.clone(), chain.clone(), wallet.clone(), store.clone());
    let provider_config = hpips_provider::Config {
        dir: repo.folder("provider")?,
        target: None,
        reserve_bytes: RESERVE_BYTES,
        sealing_memory_bytes: hpips_provider::SEALING_MEMORY_BYTES,
    };
    let client = Client::new(hpips_client::Parts {
        net: net.clone(),
        chain: chain.clone(),
        wallet: wallet.clone(),
        store: store.clone(),
        dir: repo.folder("client")?,
    });
    let stop = stop.clone();
    tasks.push(tokio::spawn(async move {
        let opened = tokio::task::spawn_blocking(move || Prover::open(prover, &params)).await;
        let result = match opened {
            Ok(Ok(prover)) => {
                verifier.set(prover.verifier());
                let (net, chain, wallet, store) = parts;
                let parts = hpips_provider::Parts { net, chain, wallet, store, prover: Arc::new(prover) };
                Provider::start(provider_config, parts).map_err(|error| hpips_api::chain_text(&error))
            }
            Ok(Err(error)) => Err(hpips_api::chain_text(&error)),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(provider) => {
                started.send_replace(Some(provider));
            }
            Err(reason) => {
                stop.send_replace(Some(format!("no prover or provider: {reason}")));
            }
        }
        // The sender lives as long as somebody may wait for the provider.
        started.closed().await;
    }));
    Ok(Network { chain, wallet, client, provider, feed, committee, ask: TokenAmount::new(config.ask_nano) })
}

/// Decodes a genesis file's bytes.
pub(crate) fn decode_genesis(bytes: &[u8]) -> Result<Genesis, cbor::CborError> {
    cbor::decode(bytes, GENESIS_BYTES_MAX)
}

/// What a node on this repo proves with: where its keys lie, and how much of the machine it takes.
pub fn prover_config(repo: &Repo, config: &Config) -> hpips_prover::Config {
    let keys = config.keys.clone().unwrap_or_else(|| {
        // One folder for all repos of a user: keys are large, and the same for all.
        crate::repo::cache_dir().unwrap_or_else(|| repo.path().to_owned()).join(KEYS)
    });
    let threads = NonZeroUsize::new(config.compute_threads).unwrap_or(NonZeroUsize::MIN);
    hpips_prover::Config {
        memory_bytes: config.proving_memory,
        ..hpips_prover::Config::new(keys).threads(threads)
    }
}

/// The token that other programs show to the pinning service: made once, in a file that only the repo's owner reads.
/// Whoever removes the file has a new one made at the next start.
fn pins_token(repo: &Repo) -> Result<String, RunError> {
    let path = repo.path().join(PINS_TOKEN_FILE);
    let failed = |source| RunError::PinsToken { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(token) if is_token(token.trim()) => return Ok(token.trim().to_owned()),
        // What somebody chose is not replaced.
        Ok(_) => return Err(failed(std::io::ErrorKind::InvalidData.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = token()?;
    crate::repo::write_file(&path, format!("{token}\n").as_bytes(), 0o600).map_err(failed)?;
    Ok(token)
}

/// Whether a text may be a token: visible characters of ASCII, enough of them that nobody guesses it.
fn is_token(text: &str) -> bool {
    (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// 32 random bytes, hexadecimal.
fn token() -> Result<String, RunError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| RunError::Randomness)?;
    Ok(hex::encode(*bytes))
}

/// The signals that end a node in order.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::repo::Start;

    #[test]
    fn the_token_of_the_pinning_service_stays_and_may_be_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init(&folder.path().join("repo"), &Config::default(), Start::default()).unwrap();
        let path = repo.path().join(PINS_TOKEN_FILE);
        let first = pins_token(&repo).unwrap();
        assert!(is_token(&first) && pins_token(&repo).unwrap() == first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "  chosen-by-somebody \n").unwrap();
        assert_eq!(pins_token(&repo).unwrap(), "chosen-by-somebody");
        for bad in ["", "short", "two words of a token", &"x".repeat(257)] {
            fs::write(&path, bad).unwrap();
            let error = pins_token(&repo).unwrap_err().to_string();
            assert!(error.contains("pins-token") && error.contains("remove it"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad, "what somebody wrote stays");
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(pins_token(&repo).unwrap(), first);
    }
}
