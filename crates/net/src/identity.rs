//! One ed25519 key is a node's account and its libp2p identity; these functions go from one to the other.

use hpips_types::AccountId;
use libp2p::identity::{Keypair, PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use zeroize::Zeroizing;

/// Multihash code of an identity "hash": PeerIds of short keys contain the key itself.
const IDENTITY: u64 = 0;

/// The libp2p name of an account; `None` when its bytes are not a point of the curve, so nobody can hold it.
pub fn peer_of(account: &AccountId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(account.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The account behind a libp2p name; `None` for keys of other kinds (some nodes of the public IPFS network).
pub fn account_of(peer: &PeerId) -> Option<AccountId> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(AccountId::new(key.to_bytes()))
}

/// The public key that a libp2p name holds, in protobuf form; `None` where it holds a hash of it.
pub(crate) fn key_of(peer: &PeerId) -> Option<Vec<u8>> {
    let hash = peer.as_ref();
    (hash.code() == IDENTITY).then(|| hash.digest().to_vec())
}

/// Splits `/ip4/.../p2p/NAME` into the name and the address without it.
pub fn split_peer(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut address = address.clone();
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        _ => None,
    }
}

/// The key pair of a seed.
pub(crate) fn keypair_of(seed: &Zeroizing<[u8; 32]>) -> Keypair {
    let mut copy = Zeroizing::new(**seed);
    Keypair::ed25519_from_bytes(&mut copy[..]).expect("any 32 bytes are an ed25519 seed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_peers_name_the_same_key() {
        for byte in 0..20 {
            let keypair = keypair_of(&Zeroizing::new([byte; 32]));
            let peer = keypair.public().to_peer_id();
            let account = account_of(&peer).unwrap();
            assert_eq!(peer_of(&account), Some(peer));
            let public = keypair.public().try_into_ed25519().unwrap();
            assert_eq!(account.as_bytes(), &public.to_bytes());
        }
        assert_eq!(account_of(&PeerId::random()), None, "a random name holds no key");
    }

    #[test]
    fn the_name_is_cut_off_an_address() {
        let peer = keypair_of(&Zeroizing::new([1; 32])).public().to_peer_id();
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        assert_eq!(split_peer(&bare), None);
        assert_eq!(split_peer(&bare.clone().with_p2p(peer).unwrap()), Some((peer, bare)));
    }
}
