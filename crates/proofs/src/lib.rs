//! Proof of storage.
#![deny(unsafe_code)]

pub mod challenge;
pub mod element;
pub mod graph;
pub mod label;
pub mod record;
pub mod set;
pub mod shape;
pub mod statement;
pub mod vanilla;
pub mod verify;

pub use challenge::{ActivationChallenge, WindowChallenge};
pub use element::Element;
pub use record::{Beacon, DataExtent, Record, RecordLayout, RecordParts, SealedSector, SectorId};
pub use set::{SetTree, batch_root};
pub use shape::Shape;
pub use statement::{
    ActivationStatement, CircuitKind, Entry, Statement, StatementError, WindowStatement, WindowTerms,
};
pub use vanilla::{VanillaActivation, VanillaWindow};
pub use verify::{ProofBytes, ProofVerifier};
