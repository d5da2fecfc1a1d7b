//! A verifier that may be handed out before its keys are there.
//!
//! On the first run of a test network its keys are made, which takes seconds. The chain starts at once; only
//! the first block with a proof has to wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use hpips_proofs::{ProofBytes, ProofVerifier, Statement};

/// Checks proofs once [`Self::set`] was called; callers wait until then.
#[derive(Default)]
pub(crate) struct LateVerifier {
    verifier: Mutex<Option<Arc<dyn ProofVerifier>>>,
    ready: Condvar,
}

impl LateVerifier {
    /// Hands over the verifier; those who wait go on.
    pub(crate) fn set(&self, verifier: Arc<dyn ProofVerifier>) {
        *self.verifier.lock().unwrap_or_else(PoisonError::into_inner) = Some(verifier);
        self.ready.notify_all();
    }
}

impl ProofVerifier for LateVerifier {
    fn verify(&self, items: &[(Statement, ProofBytes)]) -> Vec<bool> {
        if items.is_empty() {
            return Vec::new();
        }
        let guard = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = self
            .ready
            .wait_while(guard, |verifier| verifier.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let verifier = guard.clone().expect("waited until it is there");
        drop(guard);
        verifier.verify(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Never;

    impl ProofVerifier for Never {
        fn verify(&self, items: &[(Statement, ProofBytes)]) -> Vec<bool> {
            vec![false; items.len()]
        }
    }

    #[test]
    fn nothing_to_check_waits_for_nothing() {
        let late = LateVerifier::default();
        assert!(late.verify(&[]).is_empty());
        late.set(Arc::new(Never));
        assert!(late.verify(&[]).is_empty());
    }
}
