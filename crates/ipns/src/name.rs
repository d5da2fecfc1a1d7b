//! Names: multihashes of public keys, in every writing that people paste.

use core::fmt;
use core::str::FromStr;

use cid::Cid;
use cid::multibase::Base;
use hpips_types::AccountId;
use hpips_types::content::{IDENTITY, LIBP2P_KEY, SHA2_256, sha256};
use multihash::Multihash;

/// What a name begins with in paths.
pub(crate) const NAMESPACE: &str = "/ipns/";
/// libp2p's protobuf of an ed25519 public key: type 1, then 32 bytes.
const ED25519: &[u8] = &[0x08, 0x01, 0x12, 0x20];
/// Longest protobuf of a key that stands in its name itself (peer-ids specification).
const INLINE_BYTES_MAX: usize = 42;
/// Longest text of a name that is looked at, bytes: 66 bytes in base 2 would be more, nobody writes those.
const TEXT_BYTES_MAX: usize = 256;

/// The name of a key: what a record is published under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Multihash<64>);

/// Why a text or bytes are no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Neither a CID of a key nor the name of a peer.
    #[error("{0:?} is no name of a key: names begin with k51 or 12D3, see hpips key list -l")]
    Malformed(String),
    /// A CID of content.
    #[error("{0} names content, not a key: write /ipfs/ before it")]
    Content(Cid),
    /// A hash that no key is named by.
    #[error("a name is the sha2-256 of a key, or the key itself; this is hash {0:#x} of {1} bytes")]
    Hash(u64, u8),
}

/// Why nothing signed by a key can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is a hash of the key and the record does not bring it along.
    #[error("the name is only a hash of its key, and the record lacks the key")]
    Absent,
    /// The key of the record is another's.
    #[error("the key in the record is not the name's")]
    Foreign,
    /// RSA, secp256k1 or ECDSA.
    #[error("the name belongs to a key of kind {0}: only ed25519 signatures are checked here")]
    Kind(&'static str),
    /// Not the encoding of a key.
    #[error("the key is malformed")]
    Malformed,
}

impl Name {
    /// The name of an account: its ed25519 key.
    pub fn of_account(account: &AccountId) -> Self {
        Self::of_public_key(&[ED25519, account.as_bytes()].concat())
    }

    /// The name of a secret seed's ed25519 key.
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
        Self::of_account(&AccountId::new(key.to_bytes()))
    }

    /// The name of a public key in libp2p's protobuf.
    pub fn of_public_key(protobuf: &[u8]) -> Self {
        let hash = if protobuf.len() <= INLINE_BYTES_MAX {
            Multihash::wrap(IDENTITY, protobuf)
        } else {
            Multihash::wrap(SHA2_256, sha256(protobuf).as_bytes())
        };
        Self(hash.expect("at most 42 bytes fit into 64"))
    }

    /// The name in a multihash, which is also the binary name of a peer.
    ///
    /// # Errors
    /// [`NameError::Hash`] for a hash that no key is named by, [`NameError::Malformed`] for bytes that are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        let malformed = |_| NameError::Malformed(Base::Base16Lower.encode(bytes.get(..80).unwrap_or(bytes)));
        Self::of_hash(Multihash::from_bytes(bytes).map_err(malformed)?)
    }

    fn of_hash(hash: Multihash<64>) -> Result<Self, NameError> {
        match (hash.code(), hash.size()) {
            (IDENTITY, 4..=42) | (SHA2_256, 32) => Ok(Self(hash)),
            (code, size) => Err(NameError::Hash(code, size)),
        }
    }

    /// Its multihash.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The CID that stands for it: version 1, codec `libp2p-key`.
    pub fn cid(&self) -> Cid {
        Cid::new_v1(LIBP2P_KEY, self.0)
    }

    /// The name as libp2p writes a peer's: base58 of the multihash.
    pub fn peer_id(&self) -> String {
        Base::Base58Btc.encode(self.to_bytes())
    }

    /// The account whose ed25519 key stands in the name.
    pub fn account(&self) -> Option<AccountId> {
        let key = (self.0.code() == IDENTITY).then(|| self.0.digest())?;
        ed25519_of(key).ok()
    }

    /// The ed25519 key that checks its signatures; `attached` is the one that a record brings along.
    ///
    /// # Errors
    /// [`KeyError`] by variant.
    pub(crate) fn key(&self, attached: Option<&[u8]>) -> Result<AccountId, KeyError> {
        match attached {
            Some(key) if Self::of_public_key(key) != *self => Err(KeyError::Foreign),
            Some(key) => ed25519_of(key),
            None if self.0.code() == IDENTITY => ed25519_of(self.0.digest()),
            None => Err(KeyError::Absent),
        }
    }
}

fn ed25519_of(protobuf: &[u8]) -> Result<AccountId, KeyError> {
    if let Some(key) = protobuf.strip_prefix(ED25519) {
        return key.try_into().map(AccountId::new).map_err(|_| KeyError::Malformed);
    }
    Err(match protobuf {
        [0x08, 0, ..] => KeyError::Kind("RSA"),
        [0x08, 2, ..] => KeyError::Kind("secp256k1"),
        [0x08, 3, ..] => KeyError::Kind("ECDSA"),
        _ => KeyError::Malformed,
    })
}

impl fmt::Display for Name {
    /// The CID in base36, as Kubo prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&cid::multibase::encode(Base::Base36Lower, self.cid().to_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads a CID of codec `libp2p-key` in any base, or a peer's name in base58; `/ipns/` before it may stand.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || NameError::Malformed(text.chars().take(80).collect());
        if text.len() > TEXT_BYTES_MAX {
            return Err(malformed());
        }
        let bare = text.strip_prefix(NAMESPACE).unwrap_or(text);
        // Names of peers: identity hashes of ed25519 and other short keys begin with 1, SHA-256 hashes with Qm.
        if bare.starts_with('1') || bare.starts_with("Qm") {
            let bytes = Base::Base58Btc.decode(bare).map_err(|_| malformed())?;
            return Self::of_hash(Multihash::from_bytes(&bytes).map_err(|_| malformed())?);
        }
        let cid: Cid = bare.parse().map_err(|_| malformed())?;
        if cid.codec() != LIBP2P_KEY {
            return Err(NameError::Content(cid));
        }
        Self::of_hash(*cid.hash())
    }
}
