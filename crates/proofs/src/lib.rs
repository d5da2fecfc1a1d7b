//! Proof of storage.
#![deny(unsafe_code)]

pub mod bundle;
pub mod challenge;
pub mod element;
#[cfg(test)]
mod fixture;
pub mod graph;
pub mod label;
pub mod piece;
pub mod record;
pub mod seal;
pub mod sector;
pub mod set;
pub mod shape;
pub mod statement;
pub mod vanilla;
pub mod verify;

pub use bundle::{Bundle, BundlePiece};
pub use challenge::{ActivationChallenge, WindowChallenge};
pub use element::Element;
pub use piece::{CommP, PieceTree, billed_bytes, piece_height};
pub use record::{Beacon, DataExtent, Record, RecordLayout, RecordParts, SealedSector, SectorId};
pub use seal::{Sealed, SealedLabels, Sealer};
pub use sector::{KeptLabels, SectorTree};
pub use set::{SetTree, batch_root};
pub use shape::Shape;
pub use statement::{
    ActivationStatement, CircuitKind, Entry, Statement, StatementError, WindowStatement, WindowTerms,
};
pub use vanilla::{VanillaActivation, VanillaWindow};
pub use verify::{ProofBytes, ProofVerifier};
