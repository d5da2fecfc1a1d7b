//! The signatures of consensus: which scheme, under which name, and what a follower checks with the
//! 96-byte group key alone.

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::bls12381_threshold::vrf;
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::{Epoch, Round};
use commonware_cryptography::bls12381::primitives::variant::{MinSig, Variant};
use commonware_cryptography::{ed25519, sha256};
use commonware_parallel::Sequential;
use hpips_types::{AccountId, ChainId, GroupKey, Sha256Digest, ThresholdSignature, View};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

pub(crate) type PublicKey = ed25519::PublicKey;
pub(crate) type Digest = sha256::Digest;
pub(crate) type Scheme = vrf::Scheme<PublicKey, MinSig>;
pub(crate) type FinalizationOf = Finalization<Scheme, Digest>;

/// The only epoch so far: the committee is dealt at genesis and not yet drawn anew.
pub(crate) const EPOCH: Epoch = Epoch::zero();

/// Bytes of an encoded certificate at most; measured 131 to 133.
pub const CERTIFICATE_BYTES_MAX: usize = 256;

/// What separates the votes of this chain from those of every other.
pub(crate) fn namespace(chain: &ChainId) -> Vec<u8> {
    [b"hpips/chain/vote/v1".as_slice(), chain.as_bytes()].concat()
}

/// The consensus key of an account; `None` when the bytes are not a point of the curve.
pub(crate) fn public_key(account: &AccountId) -> Option<PublicKey> {
    PublicKey::decode(Copying(account.as_bytes())).ok()
}

/// The account of a consensus key.
pub(crate) fn account_of(key: &PublicKey) -> AccountId {
    AccountId::from_slice(key.as_ref()).expect("an ed25519 key has 32 bytes")
}

pub(crate) fn to_digest(digest: Sha256Digest) -> Digest {
    sha256::Digest(digest.to_bytes())
}

pub(crate) fn from_digest(digest: &Digest) -> Sha256Digest {
    Sha256Digest::new(digest.0)
}

/// Randomness for batch verification, from the operating system.
pub(crate) fn system_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A finalization certificate: more than two thirds of a committee signed that this block is final.
/// Decoding does not verify it; [`CertificateVerifier::verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(FinalizationOf);

/// Why bytes are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Too long, too short, or not of this form.
    #[error("not a finalization certificate")]
    Malformed,
    /// Of another epoch than the one there is.
    #[error("a certificate of epoch {0}, which does not exist")]
    Epoch(u64),
    /// The threshold signature is wrong.
    #[error("the certificate's signature does not verify under the group key")]
    Signature,
    /// It is about another block.
    #[error("the certificate belongs to another block")]
    OtherBlock,
}

impl Certificate {
    pub(crate) fn new(finalization: FinalizationOf) -> Self {
        Self(finalization)
    }

    /// Reads a certificate of at most [`CERTIFICATE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`], [`CertificateError::Epoch`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed);
        }
        let finalization =
            FinalizationOf::decode(Bytes::copy_from_slice(bytes)).map_err(|_| CertificateError::Malformed)?;
        if finalization.encode().as_ref() != bytes {
            return Err(CertificateError::Malformed);
        }
        let epoch = finalization.round().epoch();
        if epoch != EPOCH {
            return Err(CertificateError::Epoch(epoch.get()));
        }
        Ok(Self(finalization))
    }

    /// The bytes that [`Self::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode().to_vec()
    }

    /// Digest of the block that is final.
    pub fn digest(&self) -> Sha256Digest {
        from_digest(&self.0.proposal.payload)
    }

    /// The view in which it was proposed.
    pub fn view(&self) -> View {
        View::new(self.0.round().view().get())
    }

    /// The threshold signature of that view. `None` when it is not a curve point, which a verified
    /// certificate never has.
    pub fn seed(&self) -> Option<ThresholdSignature> {
        self.0.certificate.get().map(|signature| seed_bytes(&signature.seed_signature))
    }
}

pub(crate) fn seed_bytes(signature: &<MinSig as Variant>::Signature) -> ThresholdSignature {
    ThresholdSignature::from_slice(&signature.encode()).expect("a MinSig signature has 48 bytes")
}

/// Checks certificates and beacons with the group key.
#[derive(Clone, Debug)]
pub struct CertificateVerifier(Scheme);

/// The group key is not a point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group key is not a point of the curve")]
pub struct GroupKeyError;

impl CertificateVerifier {
    /// A verifier for one chain.
    ///
    /// # Errors
    /// [`GroupKeyError`] when the key is none.
    pub fn new(chain: &ChainId, group_key: &GroupKey) -> Result<Self, GroupKeyError> {
        let identity =
            <MinSig as Variant>::Public::decode(Copying(group_key.as_bytes())).map_err(|_| GroupKeyError)?;
        Ok(Self(Scheme::certificate_verifier(&namespace(chain), identity)))
    }

    /// Checks the threshold signatures of a certificate. Costs about 3 ms.
    ///
    /// # Errors
    /// [`CertificateError::Signature`].
    pub fn verify(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        if certificate.0.verify(&mut system_rng(), &self.0, &Sequential) {
            Ok(())
        } else {
            Err(CertificateError::Signature)
        }
    }

    /// Whether this is the threshold signature of a view. Costs about 1 ms.
    pub fn is_seed(&self, view: View, signature: &ThresholdSignature) -> bool {
        let Ok(signature) = <MinSig as Variant>::Signature::decode(Copying(signature.as_bytes())) else {
            return false;
        };
        let round = Round::new(EPOCH, commonware_consensus::types::View::new(view.get()));
        vrf::Seed::<MinSig>::new(round, signature).verify(&self.0)
    }
}
