//! Published CIDs: IPIP-499 with Kubo's `test/cli/cid_profiles_test.go` and `add_test.go`, and Kubo's sharness
//! tests t0040 and t0044. Large inputs are a ChaCha20 keystream under SHA-256 of a seed, nonce and counter zero.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hpips_types::content::sha256;

use crate::{Block, DirectoryBuilder, FileBuilder, Node, Profile, symlink};

const V0: Profile = Profile::unixfs_v0_2015();
const V1: Profile = Profile::unixfs_v1_2025();
const CID_V1: Profile = Profile::cid_version_1();
const CID_V1_WRAPPED: Profile = CID_V1.with_wrapped_leaves();

struct Keystream {
    cipher: ChaCha20,
    left: usize,
}

impl Keystream {
    fn new(seed: &str, bytes: usize) -> Self {
        let key = sha256(seed.as_bytes()).to_bytes();
        Self { cipher: ChaCha20::new(&key.into(), &[0; 12].into()), left: bytes }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes.min(self.left)];
        self.left -= out.len();
        self.cipher.apply_keystream(&mut out);
        out
    }
}

fn file(profile: Profile, bytes: &[u8], out: &mut Vec<Block>) -> Node {
    let mut file = FileBuilder::new(profile);
    file.push(bytes, out);
    file.finish(out)
}

fn directory(profile: Profile, entries: &[(&str, Node)], out: &mut Vec<Block>) -> Node {
    let mut directory = DirectoryBuilder::new(profile);
    for (name, node) in entries {
        directory.add(name, *node).unwrap();
    }
    directory.finish(out).unwrap()
}

#[test]
fn small_files() {
    for (profile, bytes, cid) in [
        (V0, "hello world", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (V1, "hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (CID_V1, "hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (CID_V1_WRAPPED, "hello world", "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa"),
        (V0, "", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
        (V1, "", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (V0, "Hello Worlds!\n", "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH"),
    ] {
        assert_eq!(file(profile, bytes.as_bytes(), &mut Vec::new()).cid.to_string(), cid, "{bytes:?}");
    }
}

#[test]
fn small_directories() {
    for (profile, cid) in [
        (V0, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
        (V1, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
    ] {
        assert_eq!(directory(profile, &[], &mut Vec::new()).cid.to_string(), cid);
    }
    for (profile, cid) in [
        (V0, "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY"),
        (CID_V1, "bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi"),
        (CID_V1_WRAPPED, "bafybeif5tuep5ap2d7zyhbktucey75aoacxufgt6i3v4gebmixyipnyp7y"),
    ] {
        let mut out = Vec::new();
        let mars = file(profile, b"Hello Mars!\n", &mut out);
        let venus = file(profile, b"Hello Venus!\n", &mut out);
        let planets = directory(profile, &[("venus.txt", venus), ("mars.txt", mars)], &mut out);
        assert_eq!(planets.cid.to_string(), cid);
    }
}

#[test]
fn symlinks() {
    let (_, good) = symlink(&V0, "files/foo/baz");
    assert_eq!(good.cid.to_string(), "QmdocmZeF7qwPT9Z8SiVhMSyKA2KKoA2J7jToW6z6WBmxR");
    let (_, bad) = symlink(&V0, "files/does/not/exist");
    assert_eq!(bad.cid.to_string(), "QmWYN8SEXCgNT2PSjB6BnxAx6NJQtazWoBkTRH9GRfPFFQ");
    let mut out = Vec::new();
    let baz = file(V0, b"some text\n", &mut out);
    let foo = directory(V0, &[("baz", baz)], &mut out);
    let bar = directory(V0, &[("baz", good)], &mut out);
    let files = directory(V0, &[("foo", foo), ("bar", bar), ("bad", bad)], &mut out);
    assert_eq!(files.cid.to_string(), "QmWdiHKoeSW8G1u7ATCgpx4yMoUhYaJBQGkyPLkS9goYZ8");
}

fn check_file(profile: Profile, seed: &str, bytes: usize, cid: &str) {
    let mut stream = Keystream::new(seed, bytes);
    let mut file = FileBuilder::new(profile);
    let mut out = Vec::new();
    while stream.left > 0 {
        // Not a multiple of the chunk, so that chunks are put together from two pushes as well.
        file.push(&stream.take(5_000_000), &mut out);
        out.clear();
    }
    let root = file.finish(&mut out);
    assert_eq!(root.file_bytes, u64::try_from(bytes).unwrap());
    assert_eq!(root.cid.to_string(), cid, "{bytes} bytes of {seed}");
}

#[test]
fn files_of_several_chunks() {
    let (small, large) = (262_144, 1_048_576);
    for (profile, seed, bytes, cid) in [
        (V0, "chunk-v0-seed", small, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
        (V0, "chunk-v0-seed", small + 1, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        (V0, "v0-seed", 174 * small, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
        (V0, "v0-seed", 174 * small + 1, "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
        (V1, "chunk-v1-seed", large, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
        (V1, "chunk-v1-seed", large + 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
    ] {
        check_file(profile, seed, bytes, cid);
    }
}

#[test]
#[ignore = "hashes 1 GiB"]
fn a_file_with_all_links_of_a_node_slow() {
    let cid = "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm";
    check_file(V1, "v1-2025-seed", 1024 << 20, cid);
}

#[test]
#[ignore = "hashes 1 GiB"]
fn a_file_with_one_byte_more_slow() {
    let cid = "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe";
    check_file(V1, "v1-2025-seed", (1024 << 20) + 1, cid);
}

/// The directories of Kubo's test: files of one byte, names from the keystream, all of one length but the last.
pub(crate) fn large_directory(
    profile: Profile,
    seed: &str,
    count: usize,
    name_bytes: usize,
    last_bytes: usize,
    out: &mut Vec<Block>,
) -> (Node, Vec<String>) {
    let letters = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let mut stream = Keystream::new(seed, 1 << 20);
    let x = file(profile, b"x", out);
    let mut directory = DirectoryBuilder::new(profile);
    let mut names = Vec::new();
    for index in 0..count {
        let bytes = stream.take(if index + 1 == count { last_bytes } else { name_bytes });
        let name: String = bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % 39])).collect();
        directory.add(&name, x).unwrap();
        names.push(name);
    }
    (directory.finish(out).unwrap(), names)
}

#[test]
fn directories_on_both_sides_of_the_threshold() {
    for (profile, seed, count, name_bytes, last_bytes, cid) in [
        (V0, "hamt-unixfs-v0-2015", 4096, 30, 30, "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN"),
        (V0, "hamt-unixfs-v0-2015", 4033, 31, 31, "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP"),
        (
            V1,
            "hamt-unixfs-v1-2025",
            4766,
            11,
            21,
            "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
        ),
        (
            V1,
            "hamt-unixfs-v1-2025",
            4766,
            11,
            22,
            "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu",
        ),
    ] {
        let (root, _) = large_directory(profile, seed, count, name_bytes, last_bytes, &mut Vec::new());
        assert_eq!(root.cid.to_string(), cid, "{count} names of {name_bytes}, last {last_bytes}");
    }
}
