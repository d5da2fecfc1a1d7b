//! What convinces someone who holds only the group key: a block, its certificate, and a proof under the
//! block's state root.

use bytes::Bytes;
use hpips_types::{Height, cbor};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::block::{BLOCK_BYTES_MAX, Block, BlockError};
use crate::scheme::{CERTIFICATE_BYTES_MAX, Certificate, CertificateError, CertificateVerifier};
use crate::state::{StateProof, StateProofError};

/// Bytes of encoded evidence at most: a block, a certificate, a path of 256 steps.
pub const EVIDENCE_BYTES_MAX: usize = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 257 * 40 + 256;

/// Evidence about one key of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    block: ByteBuf,
    certificate: ByteBuf,
    proof: StateProof,
}

/// Why evidence shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Not the canonical form, or too long.
    #[error("malformed evidence")]
    Form(#[source] cbor::CborError),
    /// The block.
    #[error("the block shown is none")]
    Block(#[from] BlockError),
    /// The certificate.
    #[error("the block shown is not known to be final")]
    Certificate(#[from] CertificateError),
    /// The proof.
    #[error("the state shown is not what is claimed")]
    State(#[from] StateProofError),
}

impl Evidence {
    pub(crate) fn new(block: Vec<u8>, certificate: Vec<u8>, proof: StateProof) -> Self {
        Self { block: ByteBuf::from(block), certificate: ByteBuf::from(certificate), proof }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads evidence from outside.
    ///
    /// # Errors
    /// [`EvidenceError::Form`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        cbor::decode(bytes, EVIDENCE_BYTES_MAX).map_err(EvidenceError::Form)
    }

    /// Checks that the committee made a state final in which the key has exactly this value (`None`: has no
    /// value). Returns the height of that state.
    ///
    /// # Errors
    /// [`EvidenceError`] by variant.
    pub fn verify(
        &self,
        certificates: &CertificateVerifier,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Height, EvidenceError> {
        let block = Block::decode(Bytes::copy_from_slice(&self.block))?;
        let certificate = Certificate::decode(&self.certificate)?;
        if certificate.digest() != block.digest() {
            return Err(CertificateError::OtherBlock.into());
        }
        self.proof.verify(block.state_root(), key, value)?;
        certificates.verify(&certificate)?;
        Ok(block.height())
    }
}
