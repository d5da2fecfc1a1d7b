//! A network of real processes on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hpips_api::view::{Connect, Done, Identity};
use hpips_api::{ApiClient, Endpoint};
use hpips_types::{AccountId, NetworkParams, TokenAmount};
use rustix::process::Signal;

use crate::genesis::{self, Dealt};
use crate::process::{ProcessName, end_all};
use crate::spawner::Spawner;
use crate::state::{NodeState, State, StateError};

/// How long a node may take from its start to its first answer. Opening a store takes milliseconds; on a
/// machine that does other things at the same time a process takes its time.
const START: Duration = Duration::from_secs(60);
/// How long nodes may take to stop by themselves before they are killed.
pub(crate) const STOP: Duration = Duration::from_secs(10);
/// How often a condition is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(25);

/// What network to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for everything; made, and must not hold a network yet.
    pub dir: PathBuf,
    /// The program to run as `PROGRAM daemon`.
    pub program: PathBuf,
    /// Nodes that may pledge; the first four (or the first one, when fewer) are the genesis committee.
    pub providers: usize,
    /// Nodes that only use the network.
    pub clients: usize,
    /// The chain's parameters.
    pub params: NetworkParams,
    /// Coins of the operations fund given to every provider and client at genesis.
    pub coins_each: TokenAmount,
    /// Folder of proving keys, shared by all nodes; by default the user's cache.
    pub keys: Option<PathBuf>,
    /// Whether the nodes end when this process ends, however it ends.
    pub end_with_us: bool,
}

impl Options {
    /// Eight providers and a client with `dev` parameters, run by this very program.
    ///
    /// # Errors
    /// When the system cannot name this program's file.
    pub fn new(dir: impl Into<PathBuf>) -> std::io::Result<Self> {
        Ok(Self {
            dir: dir.into(),
            program: std::env::current_exe()?,
            providers: 8,
            clients: 1,
            params: NetworkParams::dev(),
            coins_each: TokenAmount::from_coins(1_000),
            keys: None,
            end_with_us: true,
        })
    }
}

/// Why a network does not start or a node does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The options make no network.
    #[error("a network has 1 to 64 providers, not {0}")]
    Providers(usize),
    /// The folder's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Genesis could not be made.
    #[error("no genesis")]
    Genesis(#[from] genesis::GenesisError),
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A node ended at its start; the end of its log says why.
    #[error("node {index} ended at its start: {log}")]
    Ended {
        /// Which.
        index: usize,
        /// The last lines of its log.
        log: String,
    },
    /// A node does not answer.
    #[error("node {index} does not answer after {START:?}: {log}")]
    Silent {
        /// Which.
        index: usize,
        /// The last lines of its log.
        log: String,
    },
    /// A node refused.
    #[error("node {index}")]
    Call {
        /// Which.
        index: usize,
        /// Its answer.
        #[source]
        source: hpips_api::CallError,
    },
    /// There is no such node.
    #[error("there is no node {0}")]
    NoNode(usize),
}

/// A running network. Dropping it ends every node that it started.
#[derive(Debug)]
pub struct Network {
    state: State,
    nodes: Vec<Node>,
    spawner: Spawner,
    options: Options,
    detached: bool,
}

/// One node of the network, counted from 1 as people count them.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub index: usize,
    /// Its account.
    pub account: AccountId,
    /// Whether it has a seat in the genesis committee.
    pub is_validator: bool,
    /// Whether it was made to pledge; otherwise it is a client.
    pub is_provider: bool,
    repo: PathBuf,
    process: Option<(Child, ProcessName)>,
    api: Option<ApiClient>,
    addresses: Vec<String>,
}

impl Node {
    /// Speaks to the node.
    ///
    /// # Panics
    /// When the node was never started, which [`Network::start`] rules out.
    pub fn api(&self) -> &ApiClient {
        self.api.as_ref().expect("a network's nodes were all started")
    }

    /// Its repo.
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// Where its messages go.
    pub fn log_path(&self) -> PathBuf {
        self.repo.join(LOG_FILE)
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|(_, name)| name.is_running())
    }
}

/// Name of a node's log in its repo.
pub const LOG_FILE: &str = "log";

impl Network {
    /// Makes genesis and repos, starts every node, waits until each answers and knows the others.
    ///
    /// Dropping the future stops what was started.
    ///
    /// # Errors
    /// [`NetworkError`] by variant; nothing is left running, the folder is left for a look at the logs.
    pub async fn start(options: Options) -> Result<Self, NetworkError> {
        if !(1..=64).contains(&options.providers) {
            return Err(NetworkError::Providers(options.providers));
        }
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| NetworkError::Io { path, source }
        };
        fs::create_dir_all(&options.dir).map_err(io(&options.dir))?;
        let dir = options.dir.canonicalize().map_err(io(&options.dir))?;
        let mut state = State::claim(&dir)?;
        let dealt = genesis::deal(&options, &dir)?;
        let spawner = Spawner::start()
            .map_err(|source| NetworkError::Spawn { program: options.program.clone(), source })?;
        state.nodes = dealt.iter().map(NodeState::of).collect();
        state.save()?;
        let nodes = dealt.into_iter().map(Node::of).collect();
        let mut network = Self { state, nodes, spawner, options, detached: false };
        for index in 1..=network.nodes.len() {
            network.spawn(index)?;
        }
        network.join().await?;
        Ok(network)
    }

    /// The folder of the network.
    pub fn dir(&self) -> &Path {
        self.state.dir()
    }

    /// All nodes, providers first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its number, from 1.
    ///
    /// # Errors
    /// [`NetworkError::NoNode`].
    pub fn node(&self, index: usize) -> Result<&Node, NetworkError> {
        index.checked_sub(1).and_then(|at| self.nodes.get(at)).ok_or(NetworkError::NoNode(index))
    }

    /// The nodes made to pledge.
    pub fn providers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_provider)
    }

    /// The first node that only uses the network.
    ///
    /// # Errors
    /// [`NetworkError::NoNode`] in a network without clients.
    pub fn client(&self) -> Result<&Node, NetworkError> {
        self.nodes.iter().find(|node| !node.is_provider).ok_or(NetworkError::NoNode(0))
    }

    /// The node of an account.
    pub fn node_of(&self, account: &AccountId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.account == *account)
    }

    /// Ends a node at once, as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// [`NetworkError::NoNode`].
    pub fn kill(&mut self, index: usize) -> Result<(), NetworkError> {
        self.node(index)?;
        let node = &mut self.nodes[index - 1];
        if let Some((mut child, name)) = node.process.take() {
            name.signal(Signal::KILL);
            // The signal cannot be refused, so this ends.
            let _ = child.wait();
        }
        self.state.nodes[index - 1].process = None;
        Ok(self.state.save()?)
    }

    /// Starts a node again that was killed, and makes it known to the others.
    ///
    /// # Errors
    /// [`NetworkError`] by variant.
    pub async fn restart(&mut self, index: usize) -> Result<(), NetworkError> {
        self.node(index)?;
        if !self.nodes[index - 1].is_running() {
            self.spawn(index)?;
            self.join().await?;
        }
        Ok(())
    }

    /// Leaves the nodes running when this value is dropped; `hpips testnet down` ends them. Only for networks
    /// started without [`Options::end_with_us`].
    ///
    /// # Errors
    /// When the state cannot be written; the nodes are ended then.
    pub fn detach(mut self) -> Result<PathBuf, NetworkError> {
        self.state.is_kept = true;
        self.state.save()?;
        self.detached = true;
        Ok(self.state.dir().to_owned())
    }

    /// Remembers that a node mounts `/ipfs` there, so that whoever cleans up frees it.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn remember_mount(&mut self, path: &Path) -> Result<(), NetworkError> {
        self.state.mount = Some(path.to_owned());
        Ok(self.state.save()?)
    }

    /// Ends every node and waits; returns how many had to be killed.
    pub fn stop(&mut self) -> usize {
        let names: Vec<ProcessName> = self
            .nodes
            .iter()
            .filter_map(|node| node.process.as_ref().map(|(_, name)| name.clone()))
            .collect();
        let killed = end_all(&names, STOP);
        for (node, state) in self.nodes.iter_mut().zip(&mut self.state.nodes) {
            if let Some((mut child, _)) = node.process.take() {
                let _ = child.wait();
            }
            state.process = None;
        }
        let _ = self.state.save();
        killed
    }

    fn spawn(&mut self, index: usize) -> Result<(), NetworkError> {
        let node = &mut self.nodes[index - 1];
        let log_path = node.log_path();
        let io = |source| NetworkError::Io { path: log_path.clone(), source };
        let log = fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(io)?;
        let errors = log.try_clone().map_err(io)?;
        Endpoint::remove(&node.repo);
        let mut command = Command::new(&self.options.program);
        command
            .arg("daemon")
            .env("HPIPS_PATH", &node.repo)
            .current_dir(&node.repo)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        if self.options.end_with_us {
            command.arg("--end-with").arg(std::process::id().to_string());
        }
        // A group of its own: Ctrl-C at the terminal reaches us alone, and we end the nodes in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let spawn = |source| NetworkError::Spawn { program: self.options.program.clone(), source };
        let child = self.spawner.spawn(command).map_err(spawn)?;
        let name = ProcessName::of(child.id())
            .unwrap_or(ProcessName { pid: child.id(), started: String::from("ended at once") });
        node.api = None;
        node.process = Some((child, name.clone()));
        self.state.nodes[index - 1].process = Some(name);
        Ok(self.state.save()?)
    }

    /// Waits for every running node's answer, then tells each where the others listen.
    async fn join(&mut self) -> Result<(), NetworkError> {
        let deadline = Instant::now() + START;
        for node in &mut self.nodes {
            if node.process.is_some() && node.api.is_none() {
                node.wait_answer(deadline).await?;
            }
        }
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| node.process.is_some())
            .flat_map(|node| node.addresses.clone())
            .collect();
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            let others =
                addresses.iter().filter(|address| !node.addresses.contains(address)).cloned().collect();
            let body = Connect { addresses: others };
            let _: Done = node
                .api()
                .post("/hpips/v0/connect", &body, START)
                .await
                .map_err(|source| NetworkError::Call { index: node.index, source })?;
        }
        Ok(())
    }
}

impl Node {
    fn of(dealt: Dealt) -> Self {
        Self {
            index: dealt.index,
            account: dealt.account,
            is_validator: dealt.is_validator,
            is_provider: dealt.is_provider,
            repo: dealt.repo,
            process: None,
            api: None,
            addresses: Vec::new(),
        }
    }

    async fn wait_answer(&mut self, deadline: Instant) -> Result<(), NetworkError> {
        loop {
            if let Some((child, _)) = &mut self.process
                && let Ok(Some(_)) = child.try_wait()
            {
                return Err(NetworkError::Ended { index: self.index, log: self.last_words() });
            }
            if let Ok(api) = ApiClient::of_repo(&self.repo)
                && let Ok(identity) = api.get::<Identity>("/hpips/v0/id").await
            {
                self.addresses = identity.addresses;
                self.api = Some(api);
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(NetworkError::Silent { index: self.index, log: self.last_words() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last three lines of the log, for an error message.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if !self.detached {
            self.stop();
        }
    }
}
