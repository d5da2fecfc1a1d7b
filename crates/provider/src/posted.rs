//! The proofs that were posted last, for whoever wants to check one with another program.

use std::collections::VecDeque;

use hpips_circuits::json::ProofExport;
use hpips_types::WindowIndex;
use serde::{Deserialize, Serialize};

/// Proofs remembered at most, 7 kB each; older ones are forgotten first.
const PROOFS_MAX: usize = 32;

/// A window's proof that was sent to the chain, with all that it is checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedProof {
    /// Number of the proving set.
    pub set: u32,
    /// The window it proves.
    pub window: WindowIndex,
    /// The proof.
    #[serde(flatten)]
    pub export: ProofExport,
}

/// The proofs since the start, the last of them.
#[derive(Debug, Default)]
pub(crate) struct Posted(VecDeque<PostedProof>);

impl Posted {
    pub(crate) fn note(&mut self, proof: PostedProof) {
        if self.0.len() >= PROOFS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(proof);
    }

    /// The newest proof, or that of a window.
    pub(crate) fn find(&self, window: Option<WindowIndex>) -> Option<&PostedProof> {
        self.0.iter().rev().find(|proof| window.is_none_or(|window| proof.window == window))
    }

    /// The windows there are proofs of, oldest first.
    pub(crate) fn windows(&self) -> Vec<WindowIndex> {
        self.0.iter().map(|proof| proof.window).collect()
    }
}

#[cfg(test)]
mod tests {
    use hpips_circuits::json::{KeyExport, ProofJson, VerifyingKeyJson};

    use super::*;

    fn proof(window: u64) -> PostedProof {
        let (protocol, curve) = (String::from("groth16"), String::from("bls12381"));
        let key = KeyExport {
            circuit: "window".into(),
            id: String::new(),
            constraints: String::new(),
            hash: String::new(),
            insecure: true,
            verification_key: VerifyingKeyJson {
                protocol: protocol.clone(),
                curve: curve.clone(),
                inputs: 0,
                vk_alpha_1: Default::default(),
                vk_beta_2: Default::default(),
                vk_gamma_2: Default::default(),
                vk_delta_2: Default::default(),
                ic: Vec::new(),
            },
        };
        let pi_a = Default::default();
        let proof = ProofJson { pi_a, pi_b: Default::default(), pi_c: Default::default(), protocol, curve };
        let export = ProofExport { key, signals: Vec::new(), public_signals: Vec::new(), proof };
        PostedProof { set: 0, window: WindowIndex::new(window), export }
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let mut posted = Posted::default();
        assert_eq!(posted.find(None), None);
        for window in 0..40 {
            posted.note(proof(window));
        }
        let windows: Vec<WindowIndex> = (8..40).map(WindowIndex::new).collect();
        assert_eq!(posted.windows(), windows);
        assert_eq!(posted.find(None), Some(&proof(39)));
        assert_eq!(posted.find(Some(WindowIndex::new(8))), Some(&proof(8)));
        assert_eq!(posted.find(Some(WindowIndex::new(7))), None);
    }
}
