//! What has to be true outside the ledger's own rules: signatures, proofs and beacons.

use hpips_proofs::ProofBytes;
use hpips_types::{AccountId, SignatureBytes, ThresholdSignature, View};

/// A claim that the caller checks before [`crate::apply`].
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// An account signed a message.
    Signature {
        /// Domain of the signature.
        domain: &'static str,
        /// Who signed.
        account: AccountId,
        /// What.
        message: Vec<u8>,
        /// The signature.
        signature: SignatureBytes,
    },
    /// A proof of storage holds.
    Proof {
        /// What it claims.
        claim: Box<hpips_proofs::Statement>,
        /// The proof.
        proof: ProofBytes,
    },
    /// The committee signed a view.
    Beacon {
        /// The view.
        view: View,
        /// Its threshold signature.
        signature: ThresholdSignature,
    },
}

/// What the caller found, in the order of [`crate::statements`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts(Vec<bool>);

impl Verdicts {
    /// Verdicts in the order of the statements.
    pub fn new(verdicts: Vec<bool>) -> Self {
        Self(verdicts)
    }

    /// All true: for blocks whose finality certificate stands for them.
    pub fn all_true(count: usize) -> Self {
        Self(vec![true; count])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn all(&self, range: core::ops::Range<usize>) -> bool {
        self.0[range].iter().all(|verdict| *verdict)
    }
}
