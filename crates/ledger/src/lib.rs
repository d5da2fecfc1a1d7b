//! hpips-ledger
