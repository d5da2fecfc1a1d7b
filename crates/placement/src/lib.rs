//! Which providers get the slots of an object, and how many slots it has (DESIGN 5).
//!
//! Pure functions: everything agreed on is computed in integers from a beacon; floating point appears only
//! in [`durability`], whose numbers are shown to people and never agreed on.
//!
//! ```
//! use hpips_placement::{Candidate, draw, starting_code};
//! use hpips_types::{AccountId, ProposalId};
//!
//! let code = starting_code(8).unwrap();
//! assert_eq!((code.k(), code.n()), (3, 6));
//! let candidates: Vec<Candidate> = (0..8u8)
//!     .map(|i| Candidate { provider: AccountId::new([i; 32]), free_bytes: 1 << 30 })
//!     .collect();
//! let holders = draw(b"beacon", ProposalId::new(1), &candidates, code.n());
//! assert_eq!(holders.len(), 6);
//! ```

#![deny(unsafe_code)]

pub mod durability;
pub mod holders;
pub mod planner;

pub use durability::{Estimate, Model, estimate};
pub use holders::{Candidate, draw, draw_apart};
pub use planner::{code_for, repair_threshold, starting_code};
