//! Checks what the ledger cannot: signatures, proofs and beacons. What was checked when it arrived is not
//! checked again when it stands in a block.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use hpips_crypto::sign;
use hpips_ledger::Statement;
use hpips_proofs::ProofVerifier;
use hpips_types::{Sha256Digest, cbor, content};

use crate::scheme::CertificateVerifier;

/// Verdicts remembered. A block has at most some thousands; raising it costs about 100 bytes each.
const KNOWN_MAX: usize = 32_768;

/// Checks statements and remembers the verdicts.
pub(crate) struct Checker {
    certificates: CertificateVerifier,
    proofs: Arc<dyn ProofVerifier>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    verdicts: HashMap<Sha256Digest, bool>,
    order: VecDeque<Sha256Digest>,
}

impl Known {
    fn insert(&mut self, name: Sha256Digest, verdict: bool) {
        if self.verdicts.insert(name, verdict).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.verdicts.remove(&oldest);
            }
        }
    }
}

impl Checker {
    pub(crate) fn new(certificates: CertificateVerifier, proofs: Arc<dyn ProofVerifier>) -> Self {
        Self { certificates, proofs, known: Mutex::default() }
    }

    /// One verdict each, in order. Proofs cost milliseconds: call it off the async threads.
    pub(crate) fn check(&self, statements: &[Statement]) -> Vec<bool> {
        let names: Vec<Sha256Digest> = statements.iter().map(name).collect();
        let mut verdicts: Vec<Option<bool>> = {
            let known = self.known.lock().expect("no panic while the lock is held");
            names.iter().map(|name| known.verdicts.get(name).copied()).collect()
        };
        let (mut places, mut items) = (Vec::new(), Vec::new());
        for (index, statement) in statements.iter().enumerate() {
            if verdicts[index].is_some() {
                continue;
            }
            match statement {
                Statement::Signature { domain, account, message, signature } => {
                    verdicts[index] = Some(sign::verify(domain, account, message, signature).is_ok());
                }
                Statement::Beacon { view, signature } => {
                    verdicts[index] = Some(self.certificates.is_seed(*view, signature));
                }
                Statement::Proof { claim, proof } => {
                    places.push(index);
                    items.push(((**claim).clone(), *proof));
                }
            }
        }
        if !items.is_empty() {
            let found = self.proofs.verify(&items);
            assert_eq!(found.len(), items.len(), "one verdict for each proof");
            for (index, verdict) in places.into_iter().zip(found) {
                verdicts[index] = Some(verdict);
            }
        }
        let verdicts: Vec<bool> =
            verdicts.into_iter().map(|verdict| verdict.expect("every statement was checked")).collect();
        let mut known = self.known.lock().expect("no panic while the lock is held");
        for (name, verdict) in names.into_iter().zip(&verdicts) {
            known.insert(name, *verdict);
        }
        verdicts
    }
}

/// A name that no two statements share.
fn name(statement: &Statement) -> Sha256Digest {
    let bytes = match statement {
        Statement::Signature { domain, account, message, signature } => {
            let message = serde_bytes::Bytes::new(message);
            cbor::encode(&("signature", *domain, account, message, signature))
        }
        Statement::Proof { claim, proof } => cbor::encode(&("proof", &**claim, proof)),
        Statement::Beacon { view, signature } => cbor::encode(&("beacon", view, signature)),
    };
    content::sha256(&bytes)
}
