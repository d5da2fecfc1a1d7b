//! What a transaction can do.

use hpips_proofs::{Element, ProofBytes};
use hpips_types::{
    AccountId, Cid, DealId, ExtentIndex, Height, ProposalId, RecordIndex, SlotIndex, TokenAmount,
};
use serde::{Deserialize, Serialize};

use crate::receipt::{SignedReceipt, SignedRefusal};

/// Operations in a transaction at most.
pub const OPERATIONS_MAX: usize = 32;
/// Sectors in one pre-commitment at most.
pub const SECTORS_MAX: usize = 64;
/// Addresses a pledge announces at most.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of an address or an operator's name at most.
pub const NAME_BYTES_MAX: usize = 256;
/// Slots of an object at most.
pub const SLOTS_MAX: usize = 51;

/// One step of a transaction. All steps of a transaction happen, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Moves coins to another account, which need not exist yet.
    Transfer {
        /// Who gets them.
        to: AccountId,
        /// How many nano; not zero.
        amount: TokenAmount,
    },
    /// Offers space, or changes the offer. Deals that exist keep the ask they were drawn with.
    Pledge(Pledge),
    /// Takes the offer back: no new draws, sealed records retire at the sets' next openings; slots stay until
    /// their deals end.
    Unpledge {},
    /// Announces sealed sectors. The beacon of the first opening [`activation_seed_blocks`] later challenges
    /// them.
    ///
    /// [`activation_seed_blocks`]: hpips_types::NetworkParams::activation_seed_blocks
    PreCommit(PreCommit),
    /// Proves a pre-committed batch.
    Activate {
        /// The batch, as numbered by [`crate::Event::PreCommitted`].
        batch: u64,
        /// One proof a partition, in order.
        proofs: Vec<ProofBytes>,
    },
    /// Says that records are damaged: their slots go to repair for half a day's price, the debt is cleared.
    DeclareLost {
        /// Which of the sender's sets.
        set: u32,
        /// Records, ascending.
        records: Vec<RecordIndex>,
    },
    /// Asks for holders. The next beacon draws them.
    Propose(Propose),
    /// Puts the next drawn provider into a slot whose holder refused or does not answer.
    Replace {
        /// The sender's proposal.
        proposal: ProposalId,
        /// The slot.
        slot: SlotIndex,
        /// The holder's refusal; without it the skip counts as unsigned.
        refusal: Option<SignedRefusal>,
    },
    /// Makes a proposal a deal.
    ActivateDeal(ActivateDeal),
    /// Enters a rebuilt piece into the sender's bundle.
    ClaimRepair {
        /// The deal.
        deal: DealId,
        /// The slot that was offered to the sender.
        slot: SlotIndex,
    },
    /// Proves a rebuilt piece with a window whose challenges all fall inside it; pay falls due.
    ProveEntry {
        /// The deal.
        deal: DealId,
        /// The slot.
        slot: SlotIndex,
        /// Commitment to the challenged leaves.
        leaf_commitment: Element,
        /// The proof.
        proof: ProofBytes,
    },
    /// Prolongs a deal at the asks valid now. Anyone may.
    Renew {
        /// The deal.
        deal: DealId,
        /// Windows more.
        windows: u64,
        /// Fails when more would be taken.
        price_max: TokenAmount,
    },
    /// Ends the sender's deal at the next opening heights of its holders. What is not used returns.
    EndDeal {
        /// The deal.
        deal: DealId,
    },
}

/// A provider's offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pledge {
    /// Nano per GiB and 720 windows.
    pub ask: TokenAmount,
    /// Bytes open for deals; counts up to `open_per_sealed` times the sealed bytes.
    pub open_bytes: u64,
    /// Coins of the account that may be locked as collateral of slots.
    pub collateral_max: TokenAmount,
    /// Who is paid; part of every statement that is proven.
    pub payee: AccountId,
    /// Where the provider is reached, as multiaddrs.
    pub addresses: Vec<String>,
    /// Who runs it; one slot of an object an operator where the network says so.
    pub operator: String,
}

/// Sealed sectors of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommit {
    /// Which of the sender's sets; the next one is made with its first batch.
    pub set: u32,
    /// The sectors, at most [`SECTORS_MAX`].
    pub sectors: Vec<Sector>,
}

/// A sealed sector as announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sector {
    /// Counted by the provider over all its sectors, ascending, never used twice.
    pub number: u64,
    /// The opening whose beacon was the ticket when sealing began.
    pub ticket: Height,
    /// Root over the columns.
    pub comm_c: Element,
    /// Root over the replica.
    pub comm_k: Element,
}

/// What is to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    /// Root of the object's DAG.
    pub root: Cid,
    /// Which of its extents.
    pub extent: ExtentIndex,
    /// Bytes of content covered.
    pub content_bytes: u64,
    /// Data shards of a stripe.
    pub k: u16,
    /// Slots.
    pub n: u16,
    /// Bytes of the piece of every slot.
    pub piece_bytes: Vec<u64>,
    /// Windows to be stored for.
    pub term_windows: u64,
    /// Highest ask accepted, nano per GiB and 720 windows.
    pub ask_max: TokenAmount,
}

/// The proof that a proposal's pieces lie where they should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateDeal {
    /// The proposal; the deal gets the same number.
    pub proposal: ProposalId,
    /// Root of the manifest.
    pub manifest: Cid,
    /// Receipts, ascending by slot.
    pub receipts: Vec<SignedReceipt>,
    /// The other slots, ascending: offered like lost ones.
    pub left_out: Vec<LeftOut>,
}

/// A slot without a holder yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The slot.
    pub slot: SlotIndex,
    /// The commitment its piece must have.
    pub comm_p: Element,
    /// The hash of its piece in transfer.
    pub blake3: hpips_types::Blake3Hash,
}
