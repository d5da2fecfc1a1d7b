//! Local networks of real processes, and the story that shows one.
//!
//! [`Network::start`] makes genesis, keys and repos, starts one process a node and waits until all answer;
//! dropping the value ends them. [`demo`](mod@demo) is the story of `hpips demo`. [`Janitor`] is a process that
//! cleans up behind one that was killed.
//!
//! Only processes started here are ever signalled: they are known by number and start time.

pub mod demo;
mod genesis;
mod janitor;
mod network;
mod process;
mod spawner;
mod state;

pub use genesis::GenesisError;
pub use janitor::{Janitor, clean_up, sweep, watch};
pub use network::{LOG_FILE, Network, NetworkError, Node, Options};
pub use process::{ProcessName, end_all};
pub use state::{NodeState, State, StateError};
