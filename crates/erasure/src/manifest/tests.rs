use hpips_types::content::{DAG_PB, cid_v1};
use hpips_types::manifest::{BlockEntry, Extent, IndexNode};

use super::*;

fn code() -> Code {
    Code::new(2, 4).unwrap()
}

fn entry(bytes: u32) -> BlockEntry {
    BlockEntry { cid: cid_v1(RAW, &bytes.to_le_bytes()), bytes }
}

fn stripe() -> Stripe {
    Stripe {
        coded_bytes: 128,
        data: vec![vec![entry(60), entry(40)], vec![entry(65)]],
        parity: vec![cid_v1(RAW, b"p"), cid_v1(RAW, b"q")],
    }
}

fn manifest() -> Manifest {
    let index = Stripe { data: vec![vec![entry(65)]], ..stripe() };
    Manifest {
        version: 1,
        root: entry(60).cid,
        content_bytes: 165,
        k: 2,
        n: 4,
        bases: vec![],
        extents: vec![Extent {
            piece_bytes: vec![124; 4],
            content_stripes: 1,
            index: vec![entry(65).cid],
            index_stripes: vec![index],
        }],
    }
}

#[test]
fn good_ones_pass() {
    assert_eq!(read_manifest(&cbor::encode(&manifest())).unwrap(), manifest());
    let node = IndexNode { stripes: vec![stripe()] };
    assert_eq!(read_index(&cbor::encode(&node), code()).unwrap(), node);
}

#[test]
fn broken_stripes_are_refused() {
    let check = |change: fn(&mut Stripe), expected: StripeError| {
        let mut bad = stripe();
        change(&mut bad);
        let node = IndexNode { stripes: vec![stripe(), bad] };
        match read_index(&cbor::encode(&node), code()) {
            Err(ReadError::Stripe { stripe: 1, source }) => assert_eq!(source, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    };
    check(|stripe| stripe.data.clear(), StripeError::DataCount(0));
    check(|stripe| stripe.data.push(vec![entry(1)]), StripeError::DataCount(3));
    check(|stripe| stripe.data[1].clear(), StripeError::Shard(1));
    check(|stripe| stripe.data[0] = vec![entry(u32::MAX); 3], StripeError::Shard(0));
    check(|stripe| stripe.coded_bytes = 64, StripeError::CodedBytes(64));
    check(|stripe| stripe.coded_bytes = 192, StripeError::CodedBytes(192));
    check(|stripe| stripe.parity.truncate(1), StripeError::ParityCount(1));
    check(|stripe| stripe.parity[1] = cid_v1(DAG_PB, b"q"), StripeError::ParityName(1));
}

#[test]
fn broken_manifests_are_refused() {
    let check = |change: fn(&mut Manifest), expected: &str| {
        let mut bad = manifest();
        change(&mut bad);
        let error = read_manifest(&cbor::encode(&bad)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(|m| m.version = 2, "manifest version 2 is not supported: this program reads version 1");
    check(|m| m.k = 5, "5 of 4 is no code");
    check(|m| m.k = 0, "0 of 4 is no code");
    check(|m| m.extents.clear(), "extent 0 is incomplete or too large");
    check(|m| m.extents[0].index.clear(), "extent 0 is incomplete or too large");
    check(|m| m.extents[0].content_stripes = 0, "extent 0 is incomplete or too large");
    check(|m| m.extents[0].piece_bytes[3] = PIECE_BYTES_MAX + 1, "extent 0 is incomplete or too large");
    check(|m| m.extents[0].piece_bytes.truncate(3), "extent 0 is incomplete or too large");
    check(|m| m.extents[0].index_stripes[0].coded_bytes = 64, "stripe 0 of the block is malformed");
    let mut long = cbor::encode(&manifest());
    long.resize(MANIFEST_BYTES_MAX + 1, 0);
    assert!(matches!(read_manifest(&long), Err(ReadError::Encoding(CborError::TooLong { .. }))));
    assert!(matches!(read_manifest(b"\xa0"), Err(ReadError::Encoding(CborError::Malformed(_)))));
}

proptest::proptest! {
    #[test]
    fn noise_is_refused_without_panic(at in 0usize..400, value: u8) {
        let mut bytes = cbor::encode(&manifest());
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_manifest(&bytes);
        let _ = read_index(&bytes, code());
    }
}
