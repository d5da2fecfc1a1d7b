//! Keys, genesis and repos of a network that is about to start.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hpips_chain::{DealError, SeatError, deal as deal_keys};
use hpips_crypto::sign::SecretKey;
use hpips_ledger::{GENESIS_VERSION, Genesis, GenesisError as LedgerError, Grant};
use hpips_node::{Config, Repo, RepoError, Start};
use hpips_types::AccountId;

use crate::network::Options;

/// Validators of a genesis at most: what one machine carries.
const VALIDATORS_MAX: usize = 4;
/// Name of the genesis file in a network's folder, for nodes that join later.
pub(crate) const GENESIS_FILE: &str = "genesis";

/// Why there is no genesis.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The committee's key.
    #[error("no key for the committee")]
    Deal(#[from] DealError),
    /// The parameters.
    #[error("parameters that give no chain")]
    Ledger(#[from] LedgerError),
    /// A node's folder.
    #[error("cannot make a node's repo")]
    Repo(#[from] RepoError),
    /// A validator's seat.
    #[error("cannot save a seat")]
    Seat(#[from] SeatError),
    /// The network's folder.
    #[error("{path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// No randomness.
    #[error("no randomness for keys")]
    Randomness,
}

/// A node that is ready to start.
pub(crate) struct Dealt {
    pub(crate) index: usize,
    pub(crate) account: AccountId,
    pub(crate) is_validator: bool,
    pub(crate) is_provider: bool,
    pub(crate) repo: PathBuf,
}

/// Makes keys, the committee's key, genesis and a repo for every node.
pub(crate) fn deal(options: &Options, dir: &Path) -> Result<Vec<Dealt>, GenesisError> {
    let count = options.providers + options.clients;
    let mut seeds = Vec::with_capacity(count);
    for _ in 0..count {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| GenesisError::Randomness)?;
        seeds.push(seed);
    }
    let accounts: Vec<AccountId> = seeds.iter().map(|seed| SecretKey::from_seed(seed).account()).collect();
    // A committee is 3f + 1: of two or three providers one votes.
    let seats = if options.providers < VALIDATORS_MAX { 1 } else { VALIDATORS_MAX };
    let mut validators = accounts[..seats].to_vec();
    validators.sort_unstable();
    let dealing = deal_keys(&options.params.name, &validators)?;
    let genesis = Genesis {
        version: GENESIS_VERSION,
        params: options.params.clone(),
        group_key: dealing.group_key,
        validators,
        accounts: accounts.iter().map(|&account| Grant { account, amount: options.coins_each }).collect(),
        salt: salt()?,
    };
    genesis.check()?;
    let encoded = genesis.encode();
    let path = dir.join(GENESIS_FILE);
    fs::write(&path, &encoded).map_err(|source| GenesisError::Io { path, source })?;

    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        api: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        mdns: false,
        keys: options.keys.clone(),
        // Many nodes share this machine: none of them may take the gateway's usual port.
        gateway: None,
        ..Config::default()
    };
    let mut dealt = Vec::with_capacity(count);
    for ((index, seed), account) in (1..).zip(seeds).zip(accounts) {
        let path = dir.join(format!("node-{index}"));
        let repo = Repo::init(&path, &config, Start { seed: Some(seed), genesis: Some(&encoded) })?;
        let seat = dealing.seats.iter().find(|seat| seat.account() == account);
        if let Some(seat) = seat {
            seat.save(&repo.seat_path())?;
        }
        let is_provider = index <= options.providers;
        dealt.push(Dealt { index, account, is_validator: seat.is_some(), is_provider, repo: path });
    }
    Ok(dealt)
}

/// Makes two networks with equal parameters two chains.
fn salt() -> Result<String, GenesisError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| GenesisError::Randomness)?;
    Ok(hex::encode(bytes))
}
