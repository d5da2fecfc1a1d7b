//! Reads a tree through the kernel. Skipped, and said so, where this machine cannot mount.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cid::Cid;
use hpips_dag::{Block, DirectoryBuilder, FileBuilder, Node, Profile, symlink};
use hpips_fuse::{BlockFetcher, FetchError, MountError, mount};

struct Map {
    blocks: HashMap<Cid, Bytes>,
    fetched: AtomicUsize,
}

impl BlockFetcher for Map {
    fn fetch(&self, _root: &Cid, cid: &Cid) -> Result<Bytes, FetchError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        self.blocks.get(cid).cloned().ok_or(FetchError::NotFound)
    }
}

fn file(content: &[u8], out: &mut Vec<Block>) -> Node {
    let mut builder = FileBuilder::new(Profile::unixfs_v1_2025());
    builder.push(content, out);
    builder.finish(out)
}

fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let words = (seed..).map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
    words.flat_map(u64::to_le_bytes).take(bytes).collect()
}

#[test]
fn a_tree_reads_back_and_the_folder_is_free_afterwards() {
    let profile = Profile::unixfs_v1_2025();
    let (big, small) = (content(1, 9_500_000), content(2, 1000));
    let mut blocks = Vec::new();
    let mut inner = DirectoryBuilder::new(profile);
    inner.add("small.txt", file(&small, &mut blocks)).unwrap();
    let mut outer = DirectoryBuilder::new(profile);
    outer.add("big.bin", file(&big, &mut blocks)).unwrap();
    outer.add("empty", file(b"", &mut blocks)).unwrap();
    outer.add("inner", inner.finish(&mut blocks).unwrap()).unwrap();
    let (block, link) = symlink(&profile, "inner/small.txt");
    blocks.push(block);
    outer.add("link", link).unwrap();
    let root = outer.finish(&mut blocks).unwrap();
    let blocks = blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
    let map = Arc::new(Map { blocks, fetched: AtomicUsize::new(0) });

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let refused = mount(folder.path(), map.clone());
    assert!(matches!(refused, Err(MountError::NotEmpty(_))), "{refused:?}");
    fs::remove_file(folder.path().join("file")).unwrap();
    let missing = mount(&folder.path().join("none"), map.clone());
    assert!(matches!(missing, Err(MountError::Folder { .. })), "{missing:?}");
    let mounted = match mount(folder.path(), map.clone()) {
        Ok(mounted) => mounted,
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    let tree = folder.path().join("ipfs").join(root.cid.to_string());
    let mut names: Vec<(String, bool)> = fs::read_dir(&tree)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.file_type().unwrap().is_dir()))
        .collect();
    names.sort();
    let expected = [("big.bin", false), ("empty", false), ("inner", true), ("link", false)];
    assert_eq!(names, expected.map(|(name, is_dir)| (name.to_owned(), is_dir)));
    assert_eq!(fs::metadata(tree.join("big.bin")).unwrap().len(), 9_500_000);
    assert!(map.fetched.load(Ordering::SeqCst) <= 6, "listing fetches no content");
    assert!(fs::read(tree.join("big.bin")).unwrap() == big);
    assert_eq!(fs::read(tree.join("empty")).unwrap(), b"");
    assert_eq!(fs::read(tree.join("link")).unwrap(), small);
    assert_eq!(fs::read_link(tree.join("link")).unwrap().to_str(), Some("inner/small.txt"));
    assert!(map.fetched.load(Ordering::SeqCst) <= map.blocks.len(), "each block once");
    assert!(fs::write(tree.join("new"), "").is_err(), "read-only");
    assert!(fs::metadata(tree.join("none")).is_err());
    assert!(fs::metadata(folder.path().join("ipfs/not-a-cid")).is_err());

    let open = fs::File::open(tree.join("big.bin")).unwrap();
    mounted.close().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "unmounted though a file was open");
    drop(open);
}
