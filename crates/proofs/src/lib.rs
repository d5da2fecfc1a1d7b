//! Proof of storage: what is sealed, what is committed to, what is challenged and what a proof claims.
//!
//! The same functions serve the provider that seals and proves, the ledger that builds statements from chain
//! state, and the circuits that mirror them. Everything is a pure function of its arguments; this crate
//! refuses to know disks, clocks, keys and pairings. SNARKs are behind [`ProofVerifier`].
//!
//! # The scheme (DESIGN 6)
//!
//! *Sealed space* (SDR-2): a sector of `8^h` nodes has two layers of labels, each the Poseidon2 hash of a lane
//! and of earlier labels, over a depth-robust graph and an expander ([`graph`], [`label`]). The second layer `K`
//! is the replica. `comm_k` is the root over `K`, `comm_c` over the columns `H3(L1, K, 0)`.
//!
//! *Data*: a piece is cut into elements of 31 bytes; `comm_p` is their root at the least height that holds them
//! ([`piece`]). A [`Bundle`] is a depth-8 tree with pieces as aligned subtrees; its root follows from places and
//! `comm_p`s without data ([`bundle`]).
//!
//! *Records*: `S = H4(comm_r, comm_d, rid, meta)`, the leaf of a set's tree ([`record`], [`set`]). All leaf trees
//! have depth 8; a smaller sector's root is padded with zero trees, so one window circuit serves every record.
//!
//! *Activation* (PoRep, [`ActivationStatement`]): after a pre-commitment fixed the batch root, a beacon draws
//! nodes of the batch; for each, the record's path, ten column openings, the opening of `K` in `comm_r` and both
//! label hashes are shown. *Window* (PoSt, [`WindowStatement`]): a beacon draws bytes of a proving set; the
//! provider first commits to the leaves, later shows that each opens in its record and the record in the set.
//!
//! Challenges and parents are computed natively and hashed into one public input ([`challenge`] fixes the bits);
//! a tag binds network, provider, payee, set and window or batch ([`statement`] fixes the inputs).
//!
//! # What this crate relies on others for
//!
//! - Sector numbers are never used twice by one provider, and tickets are recent: the ledger refuses others.
//!   Two records with one replica id would be paid twice for one sector.
//! - `batch_root`, `set_root` and layouts come from records on chain, never from the prover.
//! - A window's records are fixed before its beacon is known; an entry proof's beacon comes after its claim.
//!
//! # Where things are
//!
//! | who | uses |
//! |---|---|
//! | provider, sealing | [`Sealer`] or [`seal::seal_all`], [`KeptLabels`], [`vanilla::activation::prove`] |
//! | provider, pieces | [`CommP`], [`PieceTree`], [`Bundle`] |
//! | provider, windows | [`WindowTerms`], [`vanilla::window::commit`], [`vanilla::window::prove`] |
//! | ledger | [`SealedSector`], [`Record`], [`SetTree`], [`batch_root`], [`bundle::first_fit`], [`Statement`] |
//! | circuits, prover | [`Shape`], [`Statement::public_inputs`], [`challenge`], [`label`], [`vanilla`] |
//!
//! ```
//! use hpips_proofs::{Bundle, CommP};
//!
//! let mut hasher = CommP::new();
//! hasher.push(b"the bytes of a slot, as they arrive")?;
//! let piece = hasher.finish();
//! let mut bundle = Bundle::new();
//! let offset = bundle.add(piece.bytes(), piece.comm_p())?;
//! assert_eq!(offset, 0);
//! // What was read back from disk opens up to the bundle's root.
//! let (leaf, inside) = piece.open(1, b"the bytes of a slot, as they arrive").ok_or("damaged")?;
//! let opening = bundle.open(offset + 1, leaf, inside).ok_or("no such piece")?;
//! assert_eq!(opening.path.root(leaf, 1), Some(bundle.root().fr()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod bundle;
pub mod challenge;
pub mod element;
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

#[cfg(test)]
mod fixture;

pub use bundle::{Bundle, BundlePiece};
pub use challenge::{ActivationChallenge, WindowChallenge};
pub use element::Element;
pub use piece::{CommP, PieceTree, billed_bytes, piece_height};
pub use record::{Beacon, DataExtent, Record, RecordLayout, RecordParts, SealedSector, SectorId};
pub use seal::{Lane, Sealed, SealedLabels, Sealer};
pub use sector::{KeptLabels, SectorTree};
pub use set::{SetTree, batch_root};
pub use shape::Shape;
pub use statement::{
    ActivationStatement, CircuitKind, Entry, Statement, StatementError, WindowStatement, WindowTerms,
};
pub use vanilla::{VanillaActivation, VanillaWindow};
pub use verify::{ProofBytes, ProofVerifier};
