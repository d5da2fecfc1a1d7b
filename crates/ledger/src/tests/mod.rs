//! The whole ledger in memory: blocks put together by the proposer's own code, verdicts from a verifier that
//! says of each item whether it is true, coins counted after every block.

mod activation;
mod deals;
mod economy;
mod faults;
mod formats;
mod hostile;
mod lane;
mod random;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use hpips_crypto::Fr;
use hpips_crypto::draw::Draw;
use hpips_crypto::sign::{self, SecretKey};
use hpips_proofs::{Element, ProofBytes};
use hpips_types::{
    AccountId, Blake3Hash, Cid, DealId, ExtentIndex, GroupKey, Height, NetworkParams, ProposalId, SetId,
    SlotIndex, ThresholdSignature, TokenAmount, View, content,
};

use crate::rows::{ProposalRow, SlotState};
use crate::*;

/// A proof that the test's verifier finds true.
fn good_proof() -> ProofBytes {
    ProofBytes::new([1; 192])
}

/// A proof that it finds false.
fn bad_proof() -> ProofBytes {
    ProofBytes::new([0; 192])
}

fn element(number: u64) -> Element {
    Element::from(Fr::from(number))
}

fn coins(number: u64) -> TokenAmount {
    TokenAmount::from_coins(number)
}

fn nano(number: u64) -> TokenAmount {
    TokenAmount::new(number)
}

fn root(number: u64) -> Cid {
    content::cid_v1(content::RAW, &number.to_le_bytes())
}

/// The signature that the test's committee gives a view.
fn signature_of(view: View) -> ThresholdSignature {
    let mut bytes = [7; 48];
    bytes[..8].copy_from_slice(&view.get().to_le_bytes());
    ThresholdSignature::new(bytes)
}

fn verdict(statement: &Statement) -> bool {
    match statement {
        Statement::Signature { domain, account, message, signature } => {
            sign::verify(domain, account, message, signature).is_ok()
        }
        Statement::Proof { proof, .. } => proof.as_bytes()[0] == 1,
        Statement::Beacon { view, signature } => *signature == signature_of(*view),
    }
}

/// A chain with its accounts. Account 0 to 3 validate; all have coins.
struct Sim {
    state: BTreeMap<Key, Value>,
    keys: Vec<SecretKey>,
    genesis: Genesis,
    height: Height,
    view: View,
    log: Vec<(Height, Event)>,
    /// Sent, not yet in a block.
    waiting: Vec<Vec<u8>>,
    /// Accounts that answer windows.
    alive: BTreeSet<usize>,
    /// Openings that no proposer carries a beacon for.
    silent: bool,
}

impl Sim {
    fn new(params: NetworkParams, accounts: usize) -> Self {
        Self::granted(params, &vec![coins(10_000); accounts])
    }

    fn granted(params: NetworkParams, grants: &[TokenAmount]) -> Self {
        let keys: Vec<SecretKey> = (0u8..)
            .take(grants.len())
            .map(|number| {
                let mut seed = [9; 32];
                seed[0] = number;
                SecretKey::from_seed(&seed)
            })
            .collect();
        let mut validators: Vec<AccountId> = keys.iter().take(4).map(SecretKey::account).collect();
        validators.sort_unstable();
        let accounts = keys.iter().zip(grants).filter(|(_, amount)| **amount > TokenAmount::ZERO);
        let genesis = Genesis {
            version: GENESIS_VERSION,
            params,
            group_key: GroupKey::new([3; 96]),
            validators,
            accounts: accounts
                .map(|(key, amount)| Grant { account: key.account(), amount: *amount })
                .collect(),
            salt: "test".into(),
        };
        let state = genesis.state().unwrap();
        assert_eq!(total(&state), u128::from(TokenAmount::SUPPLY.get()));
        Self {
            state,
            alive: (0..keys.len()).collect(),
            keys,
            genesis,
            height: Height::ZERO,
            view: View::ZERO,
            log: Vec::new(),
            waiting: Vec::new(),
            silent: false,
        }
    }

    fn params(&self) -> &NetworkParams {
        &self.genesis.params
    }

    fn id(&self, who: usize) -> AccountId {
        self.keys[who].account()
    }

    fn who(&self, id: &AccountId) -> usize {
        self.keys.iter().position(|key| key.account() == *id).unwrap()
    }

    fn set(&self, who: usize) -> SetId {
        SetId { provider: self.id(who), number: 0 }
    }

    fn balance(&self, who: usize) -> TokenAmount {
        query::account(&self.state, &self.id(who)).balance
    }

    fn next(&self) -> BlockContext {
        BlockContext {
            height: self.height.next(),
            view: self.view.next(),
            proposer: self.id(usize::try_from(self.height.get() % 4).unwrap() % self.keys.len()),
        }
    }

    fn transaction(&self, who: usize, ops: Vec<Operation>) -> Transaction {
        let from = self.id(who);
        let ahead =
            self.waiting.iter().filter(|bytes| Signed::decode(bytes).unwrap().body.from == from).count();
        Transaction {
            v: TX_VERSION,
            chain: self.genesis.chain_id(),
            from,
            nonce: query::account(&self.state, &from).nonce + u64::try_from(ahead).unwrap(),
            expires: self.height.plus(100),
            tip: TokenAmount::ZERO,
            max_fee: coins(1),
            ops,
        }
    }

    /// Signs and keeps for the next block.
    fn send(&mut self, who: usize, op: Operation) {
        let signed = self.transaction(who, vec![op]).sign(&self.keys[who]);
        check_tx(&self.state, &signed.encode()).unwrap();
        self.waiting.push(signed.encode());
    }

    /// Sends, makes a block, and says whether the operation happened.
    fn try_op(&mut self, who: usize, op: Operation) -> Result<(), Failure> {
        self.send(who, op);
        let id = Signed::id_of(self.waiting.last().unwrap());
        for event in self.step() {
            if let Event::Executed { id: got, failure, .. } = event
                && got == id
            {
                return failure.map_or(Ok(()), |(_, failure)| Err(failure));
            }
        }
        panic!("the transaction was not selected");
    }

    fn op(&mut self, who: usize, op: Operation) {
        self.try_op(who, op).unwrap();
    }

    /// What honest providers would put into the lane of the next block.
    fn lane(&self) -> (Vec<Commitment>, Vec<WindowProof>) {
        let (mut commitments, mut proofs) = (Vec::new(), Vec::new());
        let (chain, next) = (self.genesis.chain_id(), self.height.next());
        for who in &self.alive {
            for set in query::sets(&self.state, &self.id(*who)) {
                if let Some(task) = query::debt(&self.state, set) {
                    proofs.push(WindowProof {
                        set,
                        window: task.window,
                        late: Some(element(5)),
                        proof: good_proof(),
                    });
                }
                let Some(task) = query::open_window(&self.state, set) else { continue };
                if task.is_proven {
                    continue;
                }
                if task.is_committed {
                    proofs.push(WindowProof { set, window: task.window, late: None, proof: good_proof() });
                } else if task.commit_by.unwrap() >= next {
                    commitments.push(Commitment::sign(chain, set, task.window, element(4), &self.keys[*who]));
                }
            }
        }
        (commitments, proofs)
    }

    fn beacons(&self) -> Vec<Beacon> {
        query::wanted_beacons(&self.state)
            .into_iter()
            .filter(|(_, view)| *view <= self.view && !self.silent)
            .map(|(opening, view)| Beacon { opening, view, signature: signature_of(view) })
            .collect()
    }

    /// Makes a block of what is at hand and returns what happened in it.
    fn step(&mut self) -> Vec<Event> {
        let (commitments, proofs) = self.lane();
        let transactions = core::mem::take(&mut self.waiting);
        let body =
            select(&self.state, Candidates { beacons: self.beacons(), commitments, proofs, transactions });
        let body = Body::decode(&body.encode()).unwrap();
        self.apply(&body).unwrap()
    }

    /// Applies a body whatever it is; the state is unchanged when it is invalid.
    fn apply(&mut self, body: &Body) -> Result<Vec<Event>, Invalid> {
        let ctx = self.next();
        let statements = statements(&self.state, &ctx, body)?;
        let verdicts = Verdicts::new(statements.iter().map(verdict).collect());
        let outcome = apply(&self.state, &ctx, body, &verdicts)?;
        assert_eq!(
            apply(&self.state, &ctx, body, &verdicts).unwrap(),
            outcome,
            "equal arguments, equal results"
        );
        for (key, value) in outcome.changes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        (self.height, self.view) = (ctx.height, ctx.view);
        assert_eq!(total(&self.state), u128::from(TokenAmount::SUPPLY.get()), "height {}", self.height);
        self.check_circulating();
        self.log.extend(outcome.events.iter().map(|event| (ctx.height, event.clone())));
        Ok(outcome.events)
    }

    /// The head's sum of circulating coins is the sum over the accounts.
    fn check_circulating(&self) {
        let accounts = self.state.iter().filter(|(key, _)| key.starts_with(tables::ACCOUNT));
        let sum: u64 = accounts
            .map(|(_, value)| hpips_types::cbor::decode::<rows::Account>(value, 200).unwrap().balance.get())
            .sum();
        assert_eq!(query::head(&self.state).circulating.get(), sum);
    }

    fn steps(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.step();
        }
    }

    /// Makes blocks until something happened.
    fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(found) = self.step().iter().find_map(&wanted) {
                return found;
            }
        }
        panic!("it did not happen in 1,000 blocks");
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.log.iter().filter(|(_, event)| wanted(event)).count()
    }

    fn pledge_terms(&self, who: usize, ask: u64) -> Pledge {
        Pledge {
            ask: nano(ask),
            open_bytes: 1 << 30,
            collateral_max: TokenAmount::SUPPLY,
            payee: self.id(who),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", 4001 + who)],
            operator: format!("operator {who}"),
        }
    }

    /// The sectors a provider would announce next.
    fn sectors(&self, who: usize, count: u64) -> PreCommit {
        let (ticket, _) = query::ticket(&self.state).expect("a beacon is on chain");
        let first = query::pledge(&self.state, &self.id(who)).unwrap().next_sector;
        let sector =
            |number| Sector { number, ticket, comm_c: element(number + 1), comm_k: element(number + 2) };
        PreCommit { set: 0, sectors: (first..first + count).map(sector).collect() }
    }

    /// Pledges, seals two sectors each and activates them.
    fn providers(&mut self, who: core::ops::Range<usize>) {
        self.steps(self.params().lag_views + self.params().offset_blocks + 1);
        for provider in who.clone() {
            self.send(provider, Operation::Pledge(self.pledge_terms(provider, 1_000_000_000)));
        }
        self.step();
        for provider in who.clone() {
            self.send(provider, Operation::PreCommit(self.sectors(provider, 2)));
        }
        self.step();
        let blocks =
            self.params().activation_seed_blocks + self.params().lag_views + self.params().offset_blocks + 1;
        self.steps(blocks);
        let proofs = vec![good_proof(); usize::from(self.params().activation_partitions)];
        for provider in who.clone() {
            self.send(provider, Operation::Activate { batch: 0, proofs: proofs.clone() });
        }
        self.step();
        for provider in who {
            let pledge = query::pledge(&self.state, &self.id(provider)).unwrap();
            assert_eq!(pledge.sealed_bytes, 2 * self.params().sector_bytes());
        }
    }

    fn proposal_terms(&self, number: u64, k: u16, n: u16) -> Propose {
        Propose {
            root: root(number),
            extent: ExtentIndex::new(0),
            content_bytes: 1_000_000,
            k,
            n,
            piece_bytes: (0..n).map(|slot| 300_000 + u64::from(slot)).collect(),
            term_windows: 40,
            ask_max: nano(1_500_000_000),
        }
    }

    fn propose(&mut self, client: usize, terms: Propose) -> ProposalId {
        self.send(client, Operation::Propose(terms));
        self.until(|event| match event {
            Event::Proposed { proposal, .. } => Some(*proposal),
            _ => None,
        })
    }

    /// Proposes and waits for the draw.
    fn drawn(&mut self, client: usize, terms: Propose) -> (ProposalId, ProposalRow) {
        let id = self.propose(client, terms);
        self.until(|event| matches!(event, Event::Drawn { proposal, .. } if *proposal == id).then_some(()));
        (id, query::proposal(&self.state, id).unwrap())
    }

    fn receipt(&self, id: ProposalId, row: &ProposalRow, slot: u16) -> SignedReceipt {
        let index = usize::from(slot);
        let provider = row.draw.as_ref().unwrap().holders[index].provider;
        PieceReceipt {
            chain: self.genesis.chain_id(),
            proposal: id,
            slot: SlotIndex::new(slot),
            provider,
            comm_p: element(100 + u64::from(slot)),
            blake3: Blake3Hash::new([5; 32]),
            bytes: row.terms.piece_bytes[index],
        }
        .sign(&self.keys[self.who(&provider)])
    }

    /// The activation of a drawn proposal, some slots left out.
    fn activation(&self, id: ProposalId, left_out: &[u16]) -> ActivateDeal {
        let row = query::proposal(&self.state, id).unwrap();
        let receipts =
            (0..row.terms.n).filter(|slot| !left_out.contains(slot)).map(|slot| self.receipt(id, &row, slot));
        let left_out = left_out.iter().map(|slot| LeftOut {
            slot: SlotIndex::new(*slot),
            comm_p: element(100 + u64::from(*slot)),
            blake3: Blake3Hash::new([5; 32]),
        });
        ActivateDeal {
            proposal: id,
            manifest: root(77),
            receipts: receipts.collect(),
            left_out: left_out.collect(),
        }
    }

    /// Proposes, is drawn, uploads, activates.
    fn deal(&mut self, client: usize, number: u64, k: u16, n: u16) -> DealId {
        let (id, _) = self.drawn(client, self.proposal_terms(number, k, n));
        self.op(client, Operation::ActivateDeal(self.activation(id, &[])));
        DealId::new(id.get())
    }

    fn holder(&self, deal: DealId, slot: u16) -> Option<usize> {
        match query::slot(&self.state, deal, SlotIndex::new(slot))?.state {
            SlotState::Held { provider, .. } => Some(self.who(&provider)),
            _ => None,
        }
    }

    /// Rebuilds and proves whatever is offered to providers that are alive.
    fn rebuild(&mut self) {
        for who in self.alive.clone() {
            for (deal, index) in query::offers(&self.state, &self.id(who)) {
                let Some(slot) = query::slot(&self.state, deal, index) else { continue };
                let op = match slot.state {
                    SlotState::Offered { .. } => Operation::ClaimRepair { deal, slot: index },
                    SlotState::Entering { .. } if query::entry(&self.state, deal, index).is_some() => {
                        let (leaf_commitment, proof) = (element(6), good_proof());
                        Operation::ProveEntry { deal, slot: index, leaf_commitment, proof }
                    }
                    _ => continue,
                };
                self.send(who, op);
            }
        }
    }
}

/// Numbers for a test's choices from a printed seed.
fn numbers(seed: u64) -> Draw {
    println!("seed {seed}");
    Draw::new("hpips/ledger/test/v1", &[&seed.to_le_bytes()])
}
