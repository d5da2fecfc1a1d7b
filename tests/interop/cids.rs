//! Thousands of generated contents: every choice that decides a CID, in small, against Kubo's own answer.

use hpips_dag::{FileBuilder, Profile};

use crate::kubo::Kubo;

/// Bytes that repeat nowhere near.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| byte()).collect()
}

fn file_cid(profile: Profile, bytes: &[u8]) -> String {
    let mut blocks = Vec::new();
    let mut builder = FileBuilder::new(profile);
    builder.push(bytes, &mut blocks);
    builder.finish(&mut blocks).cid.to_string()
}

#[test]
fn files_of_the_named_profiles() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    let v0 = "cid-version=0&raw-leaves=false&chunker=size-262144&max-file-links=174";
    let v1 = "cid-version=1&raw-leaves=true&chunker=size-1048576&max-file-links=1024";
    let mixed = "cid-version=1&raw-leaves=true&chunker=size-262144&max-file-links=174";
    for (query, profile) in [
        (v0, Profile::unixfs_v0_2015()),
        (v1, Profile::unixfs_v1_2025()),
        (mixed, Profile::cid_version_1()),
    ] {
        for length in [0, 1, 100, 262_143, 262_144, 262_145, 1 << 20, (1 << 20) + 1, 3_000_000] {
            let bytes = noise(length, 1);
            let answer = kubo.add(&format!("only-hash=true&pin=false&{query}"), &[("f", &bytes)]);
            let theirs = answer.last().and_then(|line| line["Hash"].as_str()).expect("a hash");
            assert_eq!(file_cid(profile, &bytes), theirs, "{query}, {length} bytes");
        }
    }
}
