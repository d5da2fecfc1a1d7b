//! Networks of a few nodes on loopback, in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hpips_crypto::sign::SecretKey;
use hpips_ledger::{Genesis, Grant, Operation, Signed, TX_VERSION, Transaction};
use hpips_net::{Net, NoBlocks};
use hpips_proofs::{ProofBytes, ProofVerifier, Statement};
use hpips_types::{AccountId, Height, NetworkParams, TokenAmount};

use crate::dealing::{Dealing, Seat, deal};
use crate::{Chain, Config, Role};

/// No test here waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// There are no proofs in these tests: every one would be false.
#[derive(Debug)]
pub(crate) struct NoProofs;

impl ProofVerifier for NoProofs {
    fn verify(&self, items: &[(Statement, ProofBytes)]) -> Vec<bool> {
        vec![false; items.len()]
    }
}

/// A chain that has not started yet.
pub(crate) struct Plan {
    pub(crate) genesis: Genesis,
    pub(crate) seats: Vec<Seat>,
    folder: tempfile::TempDir,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) net: Net,
    pub(crate) chain: Chain,
}

/// The key of a node or a user, by number.
pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// The account that has coins at genesis.
pub(crate) const RICH: u8 = 200;

impl Plan {
    /// A committee of the nodes 1 to `validators`.
    pub(crate) fn new(validators: u8, block_ms: u64) -> Self {
        let mut accounts: Vec<AccountId> = (1..=validators).map(|number| key(number).account()).collect();
        accounts.sort();
        let params = NetworkParams { name: "test-chain".into(), block_ms, ..NetworkParams::dev() };
        let Dealing { group_key, seats } = deal(&params.name, &accounts).unwrap();
        let genesis = Genesis {
            version: hpips_ledger::GENESIS_VERSION,
            params,
            group_key,
            validators: accounts,
            accounts: vec![Grant { account: key(RICH).account(), amount: TokenAmount::from_coins(1_000) }],
            salt: "test".into(),
        };
        Self { genesis, seats, folder: tempfile::tempdir().unwrap() }
    }

    fn dir(&self, number: u8) -> PathBuf {
        self.folder.path().join(format!("node-{number}"))
    }

    /// Starts the network of node `number`, connected to these nodes.
    pub(crate) async fn net(&self, number: u8, others: &[&Node]) -> Net {
        let config = hpips_net::Config::loopback([number; 32]);
        let net = Net::start(config, Arc::new(NoBlocks)).await.unwrap();
        for other in others {
            net.keep(other.net.account(), other.net.listen_addrs()).await;
        }
        net
    }

    /// Starts node `number`: with its seat when it has one.
    pub(crate) async fn start(&self, number: u8, others: &[&Node]) -> Node {
        let net = self.net(number, others).await;
        let seat = self.seats.iter().find(|seat| seat.account() == net.account());
        let role = seat.map_or(Role::Follower, |seat| Role::Validator(Box::new(seat.clone())));
        let chain = Chain::start(self.config(number, role), &net).unwrap();
        Node { net, chain }
    }

    pub(crate) fn config(&self, number: u8, role: Role) -> Config {
        Config { dir: self.dir(number), genesis: self.genesis.clone(), role, verifier: Arc::new(NoProofs) }
    }

    /// A transfer of the rich account.
    pub(crate) fn transfer(&self, nonce: u64, to: u8, coins: u64) -> Signed {
        let transaction = Transaction {
            v: TX_VERSION,
            chain: self.genesis.chain_id(),
            from: key(RICH).account(),
            nonce,
            expires: Height::new(1_000),
            tip: TokenAmount::new(5),
            max_fee: TokenAmount::from_coins(1),
            ops: vec![Operation::Transfer { to: key(to).account(), amount: TokenAmount::from_coins(coins) }],
        };
        transaction.sign(&key(RICH))
    }
}

impl Node {
    pub(crate) async fn stop(self) {
        self.chain.shutdown().await;
        self.net.shutdown().await;
    }

    pub(crate) async fn reach(&self, height: u64) {
        self.chain.wait_height(Height::new(height), DEADLINE).await.unwrap();
    }
}
