//! One file a subcommand. Those that Kubo has are thin: one request of the RPC and the printing of its answer.

mod add;
mod bitswap;
mod block;
mod cat;
mod cid;
pub(crate) mod completion;
mod config;
mod daemon;
mod dag;
mod demo;
mod doctor;
mod files;
mod filestore;
mod get;
mod id;
mod init;
mod janitor;
mod key;
mod ls;
mod name;
mod network;
mod node;
mod pin;
mod prover;
mod refs;
mod repo;
mod resolve;
mod routing;
mod source;
mod swarm;
mod testnet;
mod version;

use std::time::Duration;

use crate::context::Context;
use crate::exit::Exit;

/// How long a node may work on a request that reads or writes much.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a repo with a new key.
    Init(init::Init),
    /// Add files or folders; print their CIDs.
    Add(Box<add::Add>),
    /// Print files.
    Cat(cat::Cat),
    /// Save a file or folder.
    Get(get::Get),
    /// List folders.
    Ls(ls::Ls),
    /// List the CIDs that blocks link to.
    Refs(refs::Refs),
    /// Print the CID that a path leads to.
    Resolve(resolve::Resolve),
    /// Files and folders under names that stay while their content changes.
    Files(files::Files),
    /// What is kept from garbage collection.
    #[command(subcommand)]
    Pin(pin::Pin),
    /// Nodes of DAGs, and whole DAGs as CAR files.
    #[command(subcommand)]
    Dag(dag::Dag),
    /// Single blocks.
    #[command(subcommand)]
    Block(block::Block),
    /// Convert CIDs and show what they say.
    #[command(subcommand)]
    Cid(cid::Cid),
    /// The folder that holds it all.
    #[command(subcommand)]
    Repo(repo::Repo),
    /// Blocks that lie in the files they were added from.
    #[command(subcommand)]
    Filestore(filestore::Filestore),
    /// Keys for names; the node's own is `self`.
    Key(key::Key),
    /// Names of keys, which point at content and can be moved.
    #[command(subcommand)]
    Name(name::Name),
    /// Ask who has what.
    #[command(subcommand)]
    Routing(routing::Routing),
    /// Show and change the configuration.
    Config(config::Config),
    /// Show this node's names and addresses.
    Id(id::Id),
    /// Run the node until Ctrl-C.
    Daemon(daemon::Daemon),
    /// Stop the node in order.
    Shutdown(node::Shutdown),
    /// Show how the node is.
    Status(node::StatusCommand),
    /// Offer space and be paid for it.
    Pledge(network::Pledge),
    /// Measure proving, look after its keys, export proofs.
    #[command(subcommand)]
    Prover(prover::Prover),
    /// Show deals.
    Deals(network::Deals),
    /// Coins of this node's account.
    #[command(subcommand)]
    Wallet(network::Wallet),
    /// Show content as files.
    Mount(node::Mount),
    /// Unmount what `mount` mounted.
    Unmount(node::Unmount),
    /// Connections with other nodes.
    #[command(subcommand)]
    Swarm(swarm::Swarm),
    /// The nodes that are connected with first.
    #[command(subcommand)]
    Bootstrap(swarm::Bootstrap),
    /// Blocks exchanged with other nodes.
    #[command(subcommand)]
    Bitswap(bitswap::Bitswap),
    /// Measure the time of a round trip to a node.
    Ping(swarm::Ping),
    /// What a node counts.
    #[command(subcommand)]
    Stats(swarm::Stats),
    /// A network of real nodes on this machine, with test coins.
    #[command(subcommand)]
    Testnet(testnet::Testnet),
    /// Show it all on this machine in two minutes.
    Demo(demo::Demo),
    /// Check this machine and the repo.
    Doctor(doctor::Doctor),
    /// Print what a shell needs to complete commands, or write man pages.
    #[command(subcommand)]
    Completion(completion::Completion),
    /// Show the program's version.
    Version(version::VersionCommand),
    #[command(hide = true)]
    Janitor(janitor::Janitor),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Init(command) => command.run(context),
            Self::Add(command) => command.run(context),
            Self::Cat(command) => command.run(context),
            Self::Get(command) => command.run(context),
            Self::Ls(command) => command.run(context),
            Self::Refs(command) => command.run(context),
            Self::Resolve(command) => command.run(context),
            Self::Files(command) => command.run(context),
            Self::Pin(command) => command.run(context),
            Self::Dag(command) => command.run(context),
            Self::Block(command) => command.run(context),
            Self::Cid(command) => command.run(context),
            Self::Repo(command) => command.run(context),
            Self::Filestore(command) => command.run(context),
            Self::Key(command) => command.run(context),
            Self::Name(command) => command.run(context),
            Self::Routing(command) => command.run(context),
            Self::Config(command) => command.run(context),
            Self::Id(command) => command.run(context),
            Self::Daemon(command) => command.run(context),
            Self::Shutdown(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Pledge(command) => command.run(context),
            Self::Prover(command) => command.run(context),
            Self::Deals(command) => command.run(context),
            Self::Wallet(command) => command.run(context),
            Self::Mount(command) => command.run(context),
            Self::Unmount(command) => command.run(context),
            Self::Swarm(command) => command.run(context),
            Self::Bootstrap(command) => command.run(context),
            Self::Bitswap(command) => command.run(context),
            Self::Ping(command) => command.run(context),
            Self::Stats(command) => command.run(context),
            Self::Testnet(command) => command.run(context),
            Self::Demo(command) => command.run(context),
            Self::Doctor(command) => command.run(context),
            Self::Completion(command) => command.run(),
            Self::Version(command) => command.run(context),
            Self::Janitor(command) => command.run(),
        }
    }
}
