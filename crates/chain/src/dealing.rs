//! Dealing of a committee's key by one trusted hand, and the file that a seat is kept in.
//!
//! Whoever deals could sign for the whole committee. That is acceptable where coins are worthless, so
//! [`deal`] refuses every network whose name does not start with `test-`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::dkg::feldman_desmedt;
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::{Mode, ModeVersion, Sharing};
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_utils::N3f1;
use commonware_utils::ordered::{Quorum as _, Set};
use hpips_types::{AccountId, ChainId, GroupKey, cbor};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::scheme::{PublicKey, Scheme, account_of, namespace, public_key, system_rng};

/// Seats of a committee at most (DESIGN 11, `main`).
const SEATS_MAX: NonZeroU32 = NonZeroU32::new(64).expect("not zero");
/// Version of the file.
const SEAT_VERSION: u8 = 1;
/// Bytes of a seat's file at most: a polynomial of 43 points of 96 bytes and a few fields.
const SEAT_BYTES_MAX: usize = 16 * 1024;

/// Why no key was dealt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DealError {
    /// The network is not a test network.
    #[error("keys are dealt on test networks only, and {0:?} does not start with test-")]
    NotATestNetwork(String),
    /// No validator, too many, or the same one twice.
    #[error("a committee has 1 to 64 different validators, not {0}")]
    Seats(usize),
    /// An account that is not an ed25519 key.
    #[error("{0} is not an ed25519 public key")]
    NotAKey(AccountId),
}

/// Why a seat's file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// The file system failed.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not the file of a seat.
    #[error("{path} is not the file of a committee seat")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read it.
    #[error("{path} is readable by others: chmod 600 it")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
}

/// What a dealer hands out.
#[derive(Debug)]
pub struct Dealing {
    /// The 96-byte key under which certificates and beacons verify; it goes into genesis.
    pub group_key: GroupKey,
    /// One seat for every validator, in the order of their keys.
    pub seats: Vec<Seat>,
}

/// A validator's seat: its share of the committee's key. Secret.
#[derive(Clone)]
pub struct Seat {
    account: AccountId,
    sharing: Sharing<MinSig>,
    share: Share,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Deals a committee's key with randomness of the operating system.
///
/// # Errors
/// [`DealError`] by variant.
///
/// # Panics
/// When the operating system has no randomness.
pub fn deal(network: &str, validators: &[AccountId]) -> Result<Dealing, DealError> {
    if !network.starts_with("test-") {
        return Err(DealError::NotATestNetwork(network.into()));
    }
    let players = participants(validators)?;
    let (output, shares) =
        feldman_desmedt::deal::<MinSig, _, N3f1>(system_rng(), Mode::NonZeroCounter, players.clone())
            .map_err(|_| DealError::Seats(validators.len()))?;
    let seats = players
        .iter()
        .map(|player| Seat {
            account: account_of(player),
            sharing: output.public().clone(),
            share: shares.get_value(player).expect("every player got a share").clone(),
        })
        .collect();
    Ok(Dealing { group_key: group_key_of(output.public()), seats })
}

fn group_key_of(sharing: &Sharing<MinSig>) -> GroupKey {
    GroupKey::from_slice(&sharing.public().encode()).expect("a MinSig public key has 96 bytes")
}

/// The committee in the engine's order.
pub(crate) fn participants(validators: &[AccountId]) -> Result<Set<PublicKey>, DealError> {
    let keys: Vec<PublicKey> = validators
        .iter()
        .map(|account| public_key(account).ok_or(DealError::NotAKey(*account)))
        .collect::<Result<_, _>>()?;
    let count = keys.len();
    let set = Set::from_iter_dedup(keys);
    let seats_max = usize::try_from(SEATS_MAX.get()).expect("64 fits");
    if count == 0 || count > seats_max || set.len() != count {
        return Err(DealError::Seats(count));
    }
    Ok(set)
}

/// The file's content, dag-cbor.
#[derive(Serialize, Deserialize)]
struct SeatFile {
    v: u8,
    account: AccountId,
    #[serde(with = "serde_bytes")]
    sharing: Vec<u8>,
    #[serde(with = "serde_bytes")]
    share: Vec<u8>,
}

impl Drop for SeatFile {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.share);
    }
}

impl Seat {
    /// Whose seat it is.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The group key this seat is a part of.
    pub fn group_key(&self) -> GroupKey {
        group_key_of(&self.sharing)
    }

    /// The signing scheme for a chain; `None` when the share belongs to another committee.
    pub(crate) fn scheme(self, chain: &ChainId, committee: Set<PublicKey>) -> Option<Scheme> {
        let seats = usize::try_from(self.sharing.total().get()).ok()?;
        let index = committee.position(&public_key(&self.account)?)?;
        let quorum = committee.quorum::<N3f1>();
        if seats != committee.len()
            || self.sharing.required() != quorum
            || usize::from(self.share.index) != index
        {
            return None;
        }
        Scheme::signer(&namespace(chain), committee, self.sharing, self.share)
    }

    /// Writes the seat into a new file that only its owner may read.
    ///
    /// # Errors
    /// [`SeatError::File`]; an existing file is never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), SeatError> {
        let file = SeatFile {
            v: SEAT_VERSION,
            account: self.account,
            sharing: self.sharing.encode().to_vec(),
            share: self.share.encode().to_vec(),
        };
        let bytes = Zeroizing::new(cbor::encode(&file));
        let failed = |source| SeatError::File { path: path.to_path_buf(), source };
        let mut out =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        out.write_all(&bytes).and_then(|()| out.sync_all()).map_err(failed)
    }

    /// Reads a seat's file.
    ///
    /// # Errors
    /// [`SeatError`] by variant.
    pub fn load(path: &Path) -> Result<Self, SeatError> {
        let failed = |source| SeatError::File { path: path.to_path_buf(), source };
        let malformed = || SeatError::Malformed { path: path.to_path_buf() };
        let mut input = fs::File::open(path).map_err(failed)?;
        let metadata = input.metadata().map_err(failed)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(SeatError::Exposed { path: path.to_path_buf() });
        }
        let length = usize::try_from(metadata.len()).ok().filter(|length| *length <= SEAT_BYTES_MAX);
        let mut bytes = Zeroizing::new(vec![0; length.ok_or_else(malformed)?]);
        input.read_exact(&mut bytes).map_err(failed)?;
        let file: SeatFile = cbor::decode(&bytes, SEAT_BYTES_MAX).map_err(|_| malformed())?;
        if file.v != SEAT_VERSION {
            return Err(malformed());
        }
        let sharing = Sharing::<MinSig>::decode_cfg(Copying(&file.sharing), &(SEATS_MAX, ModeVersion::v0()))
            .map_err(|_| malformed())?;
        let share = Share::decode(Copying(&file.share)).map_err(|_| malformed())?;
        Ok(Self { account: file.account, sharing, share })
    }
}

#[cfg(test)]
mod tests {
    use hpips_crypto::sign::SecretKey;

    use super::*;

    fn accounts(count: u8) -> Vec<AccountId> {
        (0..count).map(|index| SecretKey::from_seed(&[index + 1; 32]).account()).collect()
    }

    #[test]
    fn a_seat_survives_its_file_and_stays_private() {
        let validators = accounts(4);
        let dealing = deal("test-unit", &validators).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seat");
        let seat = &dealing.seats[2];
        seat.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(seat.save(&path), Err(SeatError::File { .. })), "overwritten");
        let again = Seat::load(&path).unwrap();
        assert_eq!((again.account(), again.group_key()), (seat.account(), dealing.group_key));
        let chain = ChainId::new([1; 32]);
        let committee = participants(&validators).unwrap();
        assert!(again.clone().scheme(&chain, committee).is_some());
        let others = participants(&accounts(7)).unwrap();
        assert!(again.scheme(&chain, others).is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Seat::load(&path), Err(SeatError::Exposed { .. })));
        assert_eq!(format!("{seat:?}"), format!("Seat {{ account: {:?}, .. }}", seat.account()));
    }

    #[test]
    fn only_test_networks_and_real_committees() {
        let four = accounts(4);
        assert!(matches!(deal("main", &four), Err(DealError::NotATestNetwork(_))));
        assert_eq!(deal("test-x", &[]).unwrap_err(), DealError::Seats(0));
        assert_eq!(deal("test-x", &[four[0], four[0]]).unwrap_err(), DealError::Seats(2));
    }
}
