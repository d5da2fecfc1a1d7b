//! Thousands of generated contents: every choice that decides a CID, in small, against Kubo's own answer.

use hpips_dag::{Chunking, DirectoryBuilder, FileBuilder, Layout, Metadata, Mtime, Profile};

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
    for (query, profile) in
        [(v0, Profile::unixfs_v0_2015()), (v1, Profile::unixfs_v1_2025()), (mixed, Profile::cid_version_1())]
    {
        for length in [0, 1, 100, 262_143, 262_144, 262_145, 1 << 20, (1 << 20) + 1, 3_000_000] {
            let bytes = noise(length, 1);
            let answer = kubo.add(&format!("only-hash=true&pin=false&{query}"), &[("f", &bytes)]);
            let theirs = answer.last().and_then(|line| line["Hash"].as_str()).expect("a hash");
            assert_eq!(file_cid(profile, &bytes), theirs, "{query}, {length} bytes");
        }
    }
}

/// Every combination that decides a file's CID, on trees that are deep although they are small.
#[test]
fn files_of_every_choice() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    let mut cases = 0;
    for layout in [Layout::Balanced, Layout::Trickle] {
        for (is_v0, raw) in [(true, false), (true, true), (false, true), (false, false)] {
            for links in [2, 3, 5] {
                for chunk in [1, 7, 64] {
                    let profile = Profile::unixfs_v0_2015().with_cid_version(is_v0).with_layout(layout);
                    let profile = if raw { profile.with_raw_leaves() } else { profile.with_wrapped_leaves() };
                    let profile =
                        profile.with_chunking(Chunking::Size(chunk)).with_file_links(links).unwrap();
                    let query = format!(
                        "cid-version={}&raw-leaves={raw}&chunker=size-{chunk}&max-file-links={links}&trickle={}",
                        u8::from(!is_v0),
                        layout == Layout::Trickle,
                    );
                    for leaves in [0, 1, 2, 3, 4, 5, 8, 9, 17, 40, 101] {
                        let bytes = noise(leaves * chunk + usize::from(leaves % 3 == 1), 2);
                        cases += check(&kubo, &query, profile, &bytes);
                    }
                }
            }
        }
    }
    assert!(cases > 700, "{cases}");
}

#[test]
fn chunkers_cut_where_kubo_cuts() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    for (chunker, lengths) in [
        ("rabin", &[1_000, 300_000, 3_000_000][..]),
        ("rabin-512", &[1_000, 40_000]),
        ("rabin-16-64-256", &[15, 16, 17, 5_000, 100_000]),
        ("rabin-1000-4000-9000", &[999, 200_000]),
        ("buzhash", &[1, 131_071, 131_072, 131_073, 524_287, 524_288, 524_289, 5_000_000]),
        ("size-1000", &[999, 1_000, 1_001, 100_000]),
    ] {
        let profile = Profile::unixfs_v0_2015().with_chunking(chunker.parse().unwrap());
        let query = format!("cid-version=0&raw-leaves=false&max-file-links=174&chunker={chunker}");
        for (seed, length) in (3..).zip(lengths) {
            check(&kubo, &query, profile, &noise(*length, seed));
        }
        // Content without any variety is cut at the largest chunk only.
        check(&kubo, &query, profile, &vec![0; 1_500_000]);
    }
}

#[test]
fn hash_functions_and_inlining() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    for (code, name) in hpips_types::content::HASHES {
        if *name == "identity" {
            continue;
        }
        let profile = Profile::cid_version_1().with_hash(*code).unwrap().with_chunking(Chunking::Size(100));
        let query = format!("cid-version=1&raw-leaves=true&max-file-links=174&chunker=size-100&hash={name}");
        for length in [0, 50, 100, 1_000] {
            check(&kubo, &query, profile, &noise(length, 4));
        }
    }
    for limit in [1, 32, 64] {
        let profile = Profile::cid_version_1().with_inline(limit).unwrap().with_chunking(Chunking::Size(33));
        let query = format!(
            "cid-version=1&raw-leaves=true&max-file-links=174&chunker=size-33&inline=true&inline-limit={limit}"
        );
        for length in [0, 1, 2, 31, 32, 33, 34, 66, 70] {
            check(&kubo, &query, profile, &noise(length, 5));
        }
    }
}

#[test]
fn modes_and_times() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    for (mode, mtime) in [
        (Some(0o644), None),
        (None, Some((1_700_000_000, 0))),
        (Some(0o755), Some((1, 999_999_999))),
        (Some(0o600), Some((-5, 7))),
    ] {
        let metadata =
            Metadata { mode, mtime: mtime.map(|(seconds, nanoseconds)| Mtime { seconds, nanoseconds }) };
        for layout in [Layout::Balanced, Layout::Trickle] {
            let profile = Profile::unixfs_v0_2015().with_cid_version(false).with_layout(layout);
            let profile = profile.with_chunking(Chunking::Size(10)).with_file_links(3).unwrap();
            let mut query = format!(
                "cid-version=1&chunker=size-10&max-file-links=3&trickle={}",
                layout == Layout::Trickle
            );
            if let Some(mode) = mode {
                query += &format!("&mode=0{mode:o}");
            }
            if let Some((seconds, nanoseconds)) = mtime {
                query += &format!("&mtime={seconds}&mtime-nsecs={nanoseconds}");
            }
            for length in [0, 5, 10, 11, 30, 31, 95] {
                let bytes = noise(length, 6);
                let mut blocks = Vec::new();
                let mut builder = FileBuilder::new(profile).with(metadata);
                builder.push(&bytes, &mut blocks);
                let ours = builder.finish(&mut blocks).cid.to_string();
                assert_eq!(ours, theirs(&kubo, &query, &bytes), "{query}, {length} bytes");
            }
        }
    }
}

#[test]
fn directories_small_and_large() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    for (count, links, fanout) in
        [(1, 0, 256), (9, 8, 8), (8, 8, 8), (100, 10, 16), (300, 20, 64), (2000, 20, 256), (600, 30, 1024)]
    {
        let profile = Profile::cid_version_1().with_directory_links(links).with_hamt_fanout(fanout).unwrap();
        let names: Vec<String> = (0..count).map(|index| format!("d/name number {index}")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        let query = format!(
            "pin=false&cid-version=1&raw-leaves=true&max-directory-links={links}&max-hamt-fanout={fanout}"
        );
        let answer = kubo.add(&query, &files);
        let theirs = answer.iter().find(|line| line["Name"] == "d").expect("the directory")["Hash"].clone();
        let mut blocks = Vec::new();
        let mut directory = DirectoryBuilder::new(profile);
        for (name, bytes) in &files {
            let mut file = FileBuilder::new(profile);
            file.push(bytes, &mut blocks);
            let node = file.finish(&mut blocks);
            directory.add(name.trim_start_matches("d/"), node).unwrap();
        }
        let ours = directory.finish(&mut blocks).unwrap().cid.to_string();
        assert_eq!(ours, theirs, "{count} entries, {query}");
    }
}

fn theirs(kubo: &Kubo, query: &str, bytes: &[u8]) -> String {
    let answer = kubo.add(&format!("only-hash=true&pin=false&{query}"), &[("f", bytes)]);
    answer.last().and_then(|line| line["Hash"].as_str()).expect("a hash").to_owned()
}

fn check(kubo: &Kubo, query: &str, profile: Profile, bytes: &[u8]) -> usize {
    assert_eq!(file_cid(profile, bytes), theirs(kubo, query, bytes), "{query}, {} bytes", bytes.len());
    1
}
