use ark_bls12_381::{G1Affine, G2Affine};
use hpips_proofs::CircuitKind;

use super::*;
use crate::builder::{Builder, Recorder};
use crate::testing::{Ready, dev, key_file, ready};
use crate::{Matrices, SetupError, circuit, insecure_key};
use format::HASH_BYTES;

fn test_network() -> NetworkParams {
    NetworkParams::dev()
}

/// `x * x = y`: a key of a few hundred points.
fn tiny() -> Matrices {
    let mut recorder = Recorder::default();
    let [y] = recorder.inputs([0u64.into()]);
    let x = recorder.witness(0u64.into());
    recorder.enforce("square", &x, &x, &y);
    recorder.finish()
}

fn tiny_key() -> (CircuitId, ProvingKey) {
    // Any identifier will do: the circuit is not one of the two.
    let id = circuit::id(CircuitKind::Window, &dev());
    (id, ProvingKey::from_bytes(&key_file(id, &tiny()), id, &test_network()).unwrap())
}

#[test]
fn the_same_key_comes_out_on_every_machine() {
    // The points depend on this crate's derivation and on how `ark-groth16` draws its evaluation point:
    // when this fails, keys of test networks changed; raise `circuit::VERSION`, so that old files are not
    // found any more, and put the new hash here.
    let (_, key) = tiny_key();
    assert_eq!(
        key.verifying_key().hash().to_string(),
        "8c476bba8d935902755745a77cc9c60ee0577a6a6163223808e5330d1851aee5"
    );
    assert_eq!(tiny_key().1.to_bytes(), key.to_bytes());
    let id = circuit::id(CircuitKind::Activation, &dev());
    let other = ProvingKey::from_bytes(&key_file(id, &tiny()), id, &test_network()).unwrap();
    assert_ne!(other.inner.vk, key.inner.vk);
    // Whole keys of our circuits: every list, and more than one piece of each.
    for (kind, hash) in [
        (CircuitKind::Window, "26e22a266009b0f85d8e0ef32ed990a6422c9b96ec9ad1b87431b880e08424c0"),
        (CircuitKind::Activation, "a02d855be2a6691d2dc6cdda6352c6095796679cd11eb95f8591e0df4b6b93e5"),
    ] {
        assert_eq!(Blake3Hash::new(*blake3::hash(&ready(kind).file).as_bytes()).to_string(), hash);
    }
}

#[test]
fn constraints_are_frozen() {
    for (kind, hash) in [
        (CircuitKind::Window, "072b2d028871f403de027955fbd0ce06d4f253a8a837090cc7abd564454e5ab3"),
        (CircuitKind::Activation, "3627f3ab80eb9d1eff0f5edd7eaeace68c712d54cdb37dba2388d781e49ad5a0"),
    ] {
        let found = circuit::matrices(kind, &dev()).hash().to_string();
        assert_eq!(found, hash, "constraints changed: raise circuit::VERSION and put the new hash here");
    }
}

#[test]
fn real_networks_get_no_insecure_key() {
    let id = circuit::id(CircuitKind::Window, &dev());
    for name in ["main", "testnet", "Test-1", ""] {
        let network = NetworkParams { name: name.into(), ..NetworkParams::dev() };
        let mut file = Vec::new();
        let refused = insecure_key(id, &tiny(), &network, &mut file);
        assert!(matches!(refused, Err(SetupError::NotATestNetwork { network }) if network == name));
        assert!(file.is_empty());
        let (_, key) = tiny_key();
        let refused = Err(KeyError::Insecure { network: name.into() });
        assert_eq!(ProvingKey::from_bytes(&key.to_bytes(), id, &network).map(|_| ()), refused);
        assert_eq!(StoredKey::open(key.to_bytes(), id, &network).map(|_| ()), refused);
        let file = key.verifying_key().to_bytes();
        assert_eq!(VerifyingKey::from_bytes(&file, id, &network).map(|_| ()), refused);
    }
}

#[test]
fn files_round_trip() {
    for kind in circuit::KINDS {
        let Ready { file, key: stored, .. } = ready(kind);
        let id = circuit::id(kind, &dev());
        assert!(file.starts_with(b"HPIPS-INSECURE-PK\0"));
        let key = ProvingKey::from_bytes(file, id, &test_network()).unwrap();
        assert!(key.to_bytes() == *file, "a key writes the file that it was read from");
        assert_eq!((stored.of(), &stored.vk), (&key.of, &key.inner.vk));
        let ends = |count: usize| [0..3, count / 2..count / 2 + 5, count - 2..count];
        for (list, points) in [
            (List::A, &key.inner.a_query),
            (List::BG1, &key.inner.b_g1_query),
            (List::H, &key.inner.h_query),
            (List::L, &key.inner.l_query),
        ] {
            assert_eq!(stored.count(list), points.len());
            for range in ends(points.len()) {
                assert_eq!(
                    stored.points::<G1Affine>(list, range.clone()).unwrap(),
                    points[range],
                    "{list:?}"
                );
            }
        }
        let points = &key.inner.b_g2_query;
        assert_eq!(stored.count(List::BG2), points.len());
        for range in ends(points.len()) {
            assert_eq!(stored.points::<G2Affine>(List::BG2, range.clone()).unwrap(), points[range]);
        }
        let file = key.verifying_key().to_bytes();
        assert!(file.starts_with(b"HPIPS-INSECURE-VK\0"));
        let read = VerifyingKey::from_bytes(&file, id, &test_network()).unwrap();
        assert_eq!((read.of, &read.inner), (key.of, &key.inner.vk));
        assert_eq!(read.inputs(), kind.inputs());
    }
}

/// Replaces the hash at the end by the right one, as whoever writes files on purpose can.
fn resealed(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - HASH_BYTES);
    sealed(file)
}

fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let hash = format::hash(&file);
    file.extend(hash.as_bytes());
    file
}

#[test]
fn damaged_files_are_refused_without_panic() {
    let (id, key) = tiny_key();
    let network = test_network();
    let file = key.to_bytes();
    // A key read whole and one left in its file are refused alike.
    let read = |bytes: &[u8]| {
        let whole = ProvingKey::from_bytes(bytes, id, &network).map(|_| ()).unwrap_err();
        let stored = StoredKey::open(bytes.to_vec(), id, &network).map(|_| ()).unwrap_err();
        assert_eq!(stored, whole);
        whole
    };
    for position in 0..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 1;
        assert_eq!(read(&damaged), KeyError::Hash, "byte {position}");
    }
    // With a right hash only the form protects: every cut and every changed byte must end in an error or,
    // where a point was exchanged for another encoding, in a key, never in a panic or a huge allocation.
    for end in 0..file.len() {
        read(&file[..end]);
        let cut = sealed(file[..end].to_vec());
        let is_whole = end == file.len() - HASH_BYTES;
        assert_eq!(ProvingKey::from_bytes(&cut, id, &network).is_ok(), is_whole, "cut at {end} and resealed");
        assert_eq!(StoredKey::open(cut, id, &network).is_ok(), is_whole, "cut at {end} and resealed");
    }
    for position in 0..file.len() - HASH_BYTES {
        let mut changed = file.clone();
        changed[position] = !changed[position];
        let changed = resealed(changed);
        let _ = ProvingKey::from_bytes(&changed, id, &network);
        let _ = StoredKey::open(changed, id, &network);
    }
    let with = |position: usize, bytes: &[u8]| {
        let mut changed = file.clone();
        changed[position..position + bytes.len()].copy_from_slice(bytes);
        read(&resealed(changed))
    };
    assert_eq!(with(0, b"h"), KeyError::Magic);
    assert_eq!(with(15, b"V"), KeyError::Magic);
    assert_eq!(with(24, &[2, 0, 0, 0]), KeyError::Version(2));
    assert_eq!(with(28, &[!id.as_bytes()[0]]), KeyError::Circuit);
    assert_eq!(with(92, &[0xff; 4]), KeyError::Inputs(u32::MAX));
    assert_eq!(with(96, &[0xff; 96]), KeyError::Point);
    let counts = 96 + 96 + 3 * 192 + 2 * 96 + 2 * 96;
    for count in 0..5 {
        assert!(matches!(with(counts + 8 * count, &[0xff; 8]), KeyError::Length { .. }), "count {count}");
    }
    let longer = resealed([&file[..file.len() - HASH_BYTES], &[0; 1 + HASH_BYTES]].concat());
    assert!(matches!(read(&longer), KeyError::Length { .. }));
}

proptest::proptest! {
    #[test]
    fn any_change_ends_in_an_error_or_a_key(changes in proptest::collection::vec((0usize..2_700, 0u8..), 1..8)) {
        static KEY: std::sync::LazyLock<(CircuitId, Vec<u8>)> = std::sync::LazyLock::new(|| {
            let (id, key) = tiny_key();
            (id, key.to_bytes())
        });
        let (id, file) = &*KEY;
        let mut changed = file.clone();
        for (position, byte) in changes {
            changed[position] = byte;
        }
        let changed = resealed(changed);
        let _ = ProvingKey::from_bytes(&changed, *id, &test_network());
        if let Ok(key) = StoredKey::open(changed, *id, &test_network()) {
            let _ = key.points::<G1Affine>(List::A, 0..key.count(List::A));
        }
    }
}
