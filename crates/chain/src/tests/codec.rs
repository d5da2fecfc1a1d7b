//! Decoders of what comes from outside: canonical, bounded, never a panic.

use bytes::Bytes;
use commonware_codec::{Encode as _, EncodeSize as _};
use commonware_consensus::BoundedBlock as _;
use hpips_ledger::{Beacon, Body};
use hpips_types::{ChainId, Height, Sha256Digest, ThresholdSignature, View, cbor};
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::harness::key;
use crate::block::{BLOCK_BYTES_MAX, Block, BlockError, Proposed};
use crate::light::Evidence;
use crate::scheme::Certificate;
use crate::wire::{Candidate, Finality};

fn block(transactions: Vec<Vec<u8>>) -> Block {
    let parent = Sha256Digest::new([3; 32]);
    let context = Proposed {
        epoch: 0,
        view: View::new(9),
        leader: key(1).account(),
        parent_view: View::new(7),
        parent,
    };
    let beacon =
        Beacon { opening: Height::new(4), view: View::new(6), signature: ThresholdSignature::new([5; 48]) };
    let body = Body {
        beacons: vec![beacon],
        transactions: transactions.into_iter().map(ByteBuf::from).collect(),
        ..Body::default()
    };
    Block::new(ChainId::new([2; 32]), context, Height::new(8), Sha256Digest::new([4; 32]), body).unwrap()
}

#[test]
fn blocks_are_frozen() {
    let block = block(vec![vec![1, 2, 3]]);
    assert_eq!(block.cid().to_string(), "bafyreigvp4xgejir3wt7xprs4g4mrfa2hqtl7vzt52k26cwx2txwmyciby");
    assert_eq!(block.cid().hash().digest(), block.digest().as_bytes());
    let mut genesis = Block::genesis(ChainId::new([2; 32]), key(1).account(), Sha256Digest::new([4; 32]));
    assert_eq!(
        genesis.digest().to_string(),
        "e1b018259c8d927bdf306b52dc56f00c06ff5c4407065ed9de5473adf2094a0e"
    );
    genesis = Block::decode(genesis.bytes().clone()).unwrap();
    assert_eq!((genesis.height(), genesis.parent()), (Height::ZERO, Sha256Digest::new([2; 32])));
}

#[test]
fn the_engine_reads_what_it_wrote_and_nothing_longer() {
    let small = block(vec![vec![7; 100]]);
    let encoded = small.encode();
    assert_eq!(encoded.len(), small.encode_size());
    assert!(Block::decode(encoded.as_ref().to_vec().into()).is_err(), "framing is not the block");
    let again = <Block as commonware_codec::DecodeExt<()>>::decode(encoded).unwrap();
    assert_eq!(again, small);
    assert!(small.encode_size() <= Block::max_encode_size(&()));
    let context = Proposed { ..small.context() };
    let huge = Body { transactions: vec![ByteBuf::from(vec![0; BLOCK_BYTES_MAX])], ..Body::default() };
    assert!(Block::new(small.chain(), context, small.height(), small.state_root(), huge).is_none());
}

#[test]
fn a_block_of_another_form_is_refused() {
    let real = block(vec![]);
    let text = real.bytes().to_vec();
    let find = |needle: &[u8]| text.windows(needle.len()).position(|window| window == needle).unwrap();
    // The version.
    let mut other = text.clone();
    other[find(b"\x61v") + 2] = 2;
    assert!(matches!(Block::decode(other.into()), Err(BlockError::Version(2))));
    // The parent's link against the context.
    let mut other = text.clone();
    let context_parent = find(&[3; 32]);
    other[context_parent] ^= 1;
    assert!(matches!(Block::decode(other.into()), Err(BlockError::Parent(_))));
    // Something behind it.
    let mut other = text.clone();
    other.push(0);
    assert!(matches!(Block::decode(other.into()), Err(BlockError::Form(_))));
}

#[test]
fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
    let arrays = vec![0x81; BLOCK_BYTES_MAX - 16];
    // A map whose only key nobody knows, so that its value is skipped.
    let skipped = [&[0xa1, 0x61, b'z'][..], &arrays].concat();
    for bytes in [arrays, skipped] {
        assert!(Block::decode(Bytes::from(bytes.clone())).is_err());
        assert!(Finality::decode(&bytes).is_none());
        assert!(Candidate::decode(&bytes[..60_000]).is_none());
        assert!(Evidence::decode(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Block::decode(Bytes::from(bytes.clone()));
        let _ = <Block as commonware_codec::DecodeExt<()>>::decode(Bytes::from(bytes.clone()));
        let _ = Certificate::decode(&bytes);
        let _ = Candidate::decode(&bytes);
        let _ = Finality::decode(&bytes);
        let _ = Evidence::decode(&bytes);
    }

    #[test]
    fn a_changed_block_is_another_or_none(
        transactions in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let real = block(transactions);
        prop_assert_eq!(Block::decode(real.bytes().clone()).unwrap().digest(), real.digest());
        let mut bytes = real.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = Block::decode(Bytes::from(bytes.clone())) {
            prop_assert_ne!(other.digest(), real.digest());
            prop_assert_eq!(&other.bytes()[..], &bytes[..]);
        }
        let finality = Finality { blocks: vec![ByteBuf::from(bytes)], certificate: ByteBuf::new() };
        let again = Finality::decode(&cbor::encode(&finality));
        prop_assert_eq!(again, Some(finality));
    }
}
