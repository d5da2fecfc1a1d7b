//! One file a subcommand.

mod add;
mod cat;
mod daemon;
mod demo;
mod get;
mod id;
mod init;
mod janitor;
mod ls;
mod network;
mod node;
mod pin;
mod source;
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
    Add(add::Add),
    /// Print a file.
    Cat(cat::Cat),
    /// Save a file or folder.
    Get(get::Get),
    /// List a folder.
    Ls(ls::Ls),
    /// What is kept from garbage collection.
    #[command(subcommand)]
    Pin(pin::Pin),
    /// Show this node's names and addresses.
    Id(id::Id),
    /// Run the node until Ctrl-C.
    Daemon(daemon::Daemon),
    /// Show how the node is.
    Status(node::StatusCommand),
    /// Offer space and be paid for it.
    Pledge(network::Pledge),
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
    Swarm(node::Swarm),
    /// Stop the node in order.
    Shutdown(node::Shutdown),
    /// A network of real nodes on this machine, with test coins.
    #[command(subcommand)]
    Testnet(testnet::Testnet),
    /// Show it all on this machine in two minutes.
    Demo(demo::Demo),
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
            Self::Pin(command) => command.run(context),
            Self::Id(command) => command.run(context),
            Self::Daemon(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Pledge(command) => command.run(context),
            Self::Deals(command) => command.run(context),
            Self::Wallet(command) => command.run(context),
            Self::Mount(command) => command.run(context),
            Self::Unmount(command) => command.run(context),
            Self::Swarm(command) => command.run(context),
            Self::Shutdown(command) => command.run(context),
            Self::Testnet(command) => command.run(context),
            Self::Demo(command) => command.run(context),
            Self::Janitor(command) => command.run(),
            Self::Version(command) => command.run(context),
        }
    }
}
