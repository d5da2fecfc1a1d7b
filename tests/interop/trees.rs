//! Generated trees: every file and directory of them, by the CIDs that a Kubo beside us prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hpips_client::{Added, ImportOptions, import};
use hpips_dag::{Chunking, Layout, Profile};

use crate::cids::noise;
use crate::kubo::Kubo;

/// Entries of one tree, about.
const ENTRIES: usize = 350;
/// Names that differ in length, script and case, and some that other programs stumble over.
const NAMES: &[&str] =
    &["a", "B", "-dash", "two words", "ünïcödé", "日本", "name.tar.gz", "%41", "x+y", "q?&=#"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// Files of a tree by their paths.
fn tree(seed: u64) -> BTreeMap<String, Vec<u8>> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut folders = vec!["t".to_owned()];
    let mut files = BTreeMap::new();
    for number in 0..ENTRIES {
        let folder = folders[random.below(folders.len())].clone();
        let name = format!("{folder}/{}{number}", NAMES[random.below(NAMES.len())]);
        // Content repeats now and then, as it does.
        let length = [0, 1, 63, 64, 65, 200, 700][random.below(7)];
        if random.below(6) == 0 && name.matches('/').count() < 6 {
            files.insert(format!("{name}/first"), noise(length, number as u64 % 50 + 1));
            folders.push(name);
        } else {
            files.insert(name, noise(length, number as u64 % 50 + 1));
        }
    }
    files
}

fn ours(files: &BTreeMap<String, Vec<u8>>, profile: Profile) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("room");
        fs::write(path, bytes).expect("room");
    }
    let mut cids = BTreeMap::new();
    let options = ImportOptions { profile, ..ImportOptions::default() };
    let listener = &mut |added: Added| {
        cids.insert(added.name, added.cid.to_string());
    };
    import(&folder.path().join("t"), &options, None, &mut |_| Ok(()), listener).expect("a readable tree");
    cids
}

#[test]
fn every_file_and_directory_of_generated_trees() {
    let Some(kubo) = Kubo::start(&[]) else { return };
    let small = |profile: Profile| profile.with_chunking(Chunking::Size(64));
    let mut cases = 0;
    for (seed, (query, profile)) in (1..).zip([
        ("cid-version=0&raw-leaves=false&max-file-links=174", small(Profile::unixfs_v0_2015())),
        ("cid-version=1&raw-leaves=true&max-file-links=174", small(Profile::cid_version_1())),
        (
            "cid-version=1&raw-leaves=true&max-file-links=3&max-directory-links=9&max-hamt-fanout=8",
            small(Profile::cid_version_1())
                .with_file_links(3)
                .and_then(|profile| profile.with_directory_links(9).with_hamt_fanout(8))
                .expect("a profile"),
        ),
        (
            "cid-version=1&raw-leaves=false&max-file-links=174&max-directory-links=20&max-hamt-fanout=256",
            small(Profile::cid_version_1().with_wrapped_leaves())
                .with_directory_links(20)
                .with_hamt_fanout(256)
                .expect("a profile"),
        ),
        (
            "cid-version=1&raw-leaves=true&max-file-links=4&trickle=true",
            small(Profile::cid_version_1())
                .with_layout(Layout::Trickle)
                .with_file_links(4)
                .expect("a profile"),
        ),
        (
            "cid-version=1&raw-leaves=true&max-file-links=174&inline=true&inline-limit=40",
            small(Profile::cid_version_1()).with_inline(40).expect("a profile"),
        ),
        (
            "cid-version=1&raw-leaves=true&max-file-links=174&hash=blake3",
            small(Profile::cid_version_1()).with_hash(0x1e).expect("a profile"),
        ),
    ]) {
        let files = tree(seed);
        let mut sent: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        sent.sort_by(|one, two| one.0.split('/').cmp(two.0.split('/')));
        let answer = kubo.add(&format!("pin=false&chunker=size-64&{query}"), &sent);
        let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let theirs: BTreeMap<_, _> =
            answer.iter().map(|line| (text(line, "Name"), text(line, "Hash"))).collect();
        let ours = ours(&files, profile);
        for (name, cid) in &theirs {
            assert_eq!(ours.get(name), Some(cid), "seed {seed}, {name:?}, {query}");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}, {query}");
        cases += ours.len();
    }
    assert!(cases > 2_000, "{cases}");
}
