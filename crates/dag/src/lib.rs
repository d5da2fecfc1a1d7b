//! hpips-dag
