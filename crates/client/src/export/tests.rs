//! Trees written to disk, well-meant and hostile ones.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Mutex;

use bytes::Bytes;
use hpips_dag::{DataType, DirectoryBuilder, FileBuilder, Mtime, Node, Profile, UnixFs, encode_pb};

use super::*;
use crate::import::{ImportOptions, import};

#[derive(Default)]
struct Map(Mutex<HashMap<Cid, Bytes>>);

impl BlockGetter for Map {
    fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
        self.0.lock().unwrap().get(cid).cloned().ok_or(GetBlockError::NotFound { cid: *cid, peers: None })
    }
}

impl Map {
    fn put(&self, blocks: Vec<hpips_dag::Block>) {
        self.0.lock().unwrap().extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
    }
}

#[test]
fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("a"), vec![7; 3_000_000]).unwrap();
    fs::write(source.join("deep/er/empty"), "").unwrap();
    symlink("../a", source.join("deep/link")).unwrap();
    let map = Map::default();
    let root = import(
        &source,
        &ImportOptions::default(),
        None,
        &mut |batch: crate::import::Batch| {
            map.put(batch.blocks);
            Ok(())
        },
        &mut |_: crate::import::Added| {},
    )
    .unwrap()
    .root;
    let target = folder.path().join("target");
    let report = export(root, &map, &target, &mut |_| {}).unwrap();
    assert_eq!((report.files, report.bytes.get()), (3, 3_000_000));
    assert_eq!(fs::read(target.join("a")).unwrap(), vec![7; 3_000_000]);
    assert_eq!(fs::read(target.join("deep/er/empty")).unwrap(), b"");
    assert_eq!(fs::read_link(target.join("deep/link")).unwrap(), Path::new("../a"));
    assert!(matches!(export(root, &map, &target, &mut |_| {}), Err(ExportError::Exists(_))));
}

#[test]
fn a_missing_block_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut blocks = Vec::new();
    let mut builder = DirectoryBuilder::new(Profile::default());
    let (_, node) = hpips_dag::symlink(&Profile::default(), "/etc");
    builder.add("gone", node).unwrap();
    let root = builder.finish(&mut blocks).unwrap().cid;
    let map = Map::default();
    map.put(blocks);
    let target = folder.path().join("out");
    assert!(matches!(export(root, &map, &target, &mut |_| {}), Err(ExportError::Get { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn file(content: &[u8], metadata: Metadata, map: &Map) -> Node {
    let mut blocks = Vec::new();
    let mut builder = FileBuilder::new(Profile::default()).with(metadata);
    builder.push(content, &mut blocks);
    let node = builder.finish(&mut blocks);
    map.put(blocks);
    node
}

#[test]
fn modes_and_times_are_set_whatever_order_they_forbid_things_in() {
    let folder = tempfile::tempdir().unwrap();
    let map = Map::default();
    let of = |mode, seconds| Metadata { mode: Some(mode), mtime: Some(Mtime { seconds, nanoseconds: 7 }) };
    let read_only = file(&[1; 2_500_000], of(0o400, 1_000_000_000), &map);
    let ancient = file(b"before 1970", of(0o751, -5), &map);
    let mut blocks = Vec::new();
    let mut inner = DirectoryBuilder::new(Profile::default()).with(of(0o555, 77));
    inner.add("read-only", read_only).unwrap();
    let inner = inner.finish(&mut blocks).unwrap();
    let mut outer = DirectoryBuilder::new(Profile::default()).with(of(0o500, 99));
    outer.add("inner", inner).unwrap();
    outer.add("inner-ancient", ancient).unwrap();
    let root = outer.finish(&mut blocks).unwrap().cid;
    map.put(blocks);
    let target = folder.path().join("out");
    assert_eq!(export(root, &map, &target, &mut |_| {}).unwrap().files, 2);
    for (path, mode, seconds) in [
        ("", 0o500, 99),
        ("inner", 0o555, 77),
        ("inner/read-only", 0o400, 1_000_000_000),
        ("inner-ancient", 0o751, -5),
    ] {
        let found = fs::metadata(target.join(path)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.mtime(), found.mtime_nsec()), (mode, seconds, 7), "{path}");
    }
    // So that the folder can be removed by whoever runs this.
    for path in ["", "inner"] {
        fs::set_permissions(target.join(path), Permissions::from_mode(0o700)).unwrap();
    }
}

/// A directory with these entries in this order, which no builder would make.
fn hostile(entries: &[(&str, Node)], map: &Map) -> Cid {
    let links = entries.iter().map(|(name, node)| (*name, &node.cid, node.tsize));
    let bytes = Bytes::from(encode_pb(links, &UnixFs::new(DataType::Directory).encode()));
    let cid = hpips_types::content::cid_v1(hpips_types::content::DAG_PB, &bytes);
    map.put(vec![hpips_dag::Block { cid, bytes }]);
    cid
}

#[test]
fn hostile_trees_never_write_outside() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let map = Map::default();
    let evil = file(b"evil", Metadata { mode: Some(0o777), mtime: None }, &map);
    let (block, link) = hpips_dag::symlink(&Profile::default(), outside.to_str().unwrap());
    map.put(vec![block]);
    let (block, file_link) = hpips_dag::symlink(&Profile::default(), outside.join("new").to_str().unwrap());
    map.put(vec![block]);
    let inner = hostile(&[("evil", evil)], &map);
    let inner = Node { cid: inner, tsize: 0, file_bytes: 0 };
    let trees: [&[(&str, Node)]; 9] = [
        &[("..", evil)],
        &[(".", evil)],
        &[("", evil)],
        &[("../outside/evil", evil)],
        &[("/etc/evil", evil)],
        &[("a\0b", evil)],
        &[("x", file_link), ("x", evil)],
        &[("x", link), ("x", inner)],
        &[("x", link), ("x/evil", evil)],
    ];
    for entries in trees {
        let root = hostile(entries, &map);
        let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
        assert!(export(root, &map, &work.join("out"), &mut |_| {}).is_err(), "{names:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{names:?}");
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "{names:?}");
    }
}

#[test]
fn only_whole_segments_lie_in_a_directory() {
    for (path, directory, expected) in
        [("a/b", "a", true), ("a/b", "", true), ("ab", "a", false), ("a", "a", false), ("b", "a/b", false)]
    {
        assert_eq!(is_below(path, directory), expected, "{path} in {directory}");
    }
}

#[test]
fn what_is_at_hand_is_read_ahead_and_only_once() {
    struct Counting(Map, Mutex<usize>);
    impl BlockGetter for Counting {
        fn get(&self, cid: &Cid) -> Result<Bytes, GetBlockError> {
            *self.1.lock().unwrap() += 1;
            self.0.get(cid)
        }
        fn at_hand(&self, cids: &[Cid]) -> Vec<(Cid, Bytes)> {
            cids.iter().filter_map(|cid| Some((*cid, self.get(cid).ok()?))).collect()
        }
    }
    let map = Map::default();
    let content: Vec<u8> =
        (0..40_000_000u32).flat_map(|index| (index / 1024).to_le_bytes()).take(70 << 20).collect();
    let node = file(&content, Metadata::default(), &map);
    let blocks = map.0.lock().unwrap().len();
    let counting = Counting(map, Mutex::new(0));
    let mut at = 0;
    walk::<_, ExportError>(hpips_dag::FileReader::new(node.cid, ..), &counting, |part| {
        assert!(content[at..at + part.len()] == part[..]);
        at += part.len();
        Ok(())
    })
    .unwrap();
    assert_eq!((at, *counting.1.lock().unwrap()), (content.len(), blocks));
}

/// Kind, mode, time and content of everything below a folder, by path.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (String, u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let below = below.join(entry.file_name());
            let about = entry.metadata().unwrap();
            let (kind, content) = if about.is_dir() {
                folders.push(below.clone());
                ("directory", Vec::new())
            } else if about.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                // The mode and time of a link itself are nobody's.
                found.insert(below, ("link".into(), 0, 0, 0, target.into_os_string().into_encoded_bytes()));
                continue;
            } else {
                ("file", fs::read(entry.path()).unwrap())
            };
            let value = (kind.into(), about.mode() & 0o7777, about.mtime(), about.mtime_nsec(), content);
            found.insert(below, value);
        }
    }
    found
}

#[test]
fn generated_trees_come_back_equal_in_bytes_modes_and_times() {
    for seed in 1..6u32 {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        let mut state = seed;
        let mut draw = |below: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % below
        };
        let mut folders = vec![source.clone()];
        let mut touched = Vec::new();
        for number in 0..60 {
            let parent = folders[draw(u32::try_from(folders.len()).unwrap()) as usize].clone();
            let path = parent.join(format!("{}{number}", [".", "a ", "\u{e4}", "z"][draw(4) as usize]));
            match draw(5) {
                0 => {
                    fs::create_dir(&path).unwrap();
                    folders.push(path.clone());
                    touched.push((path, 0o700 | draw(0o100), draw(1 << 30)));
                }
                1 => symlink(format!("../nowhere/{number}"), &path).unwrap(),
                _ => {
                    let length = [0, 1, 1000, 1 << 20, (1 << 20) + 1, 2_500_000][draw(6) as usize];
                    fs::write(&path, vec![number; length]).unwrap();
                    touched.push((path, 0o400 | draw(0o400), draw(1 << 30)));
                }
            }
        }
        // Inner ones first: what is set on a folder is changed by what is written in it.
        for (path, mode, seconds) in touched.into_iter().rev() {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds.into(), seconds % 1_000_000_000);
            File::open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let map = Map::default();
        let options = ImportOptions {
            hidden: true,
            preserve_mode: true,
            preserve_mtime: true,
            ..ImportOptions::default()
        };
        let mut sink = |batch: crate::import::Batch| {
            map.put(batch.blocks);
            Ok(())
        };
        let root =
            import(&source, &options, None, &mut sink, &mut |_: crate::import::Added| {}).unwrap().root;
        let target = folder.path().join("target");
        export(root, &map, &target, &mut |_| {}).unwrap();
        assert!(everything(&source) == everything(&target), "seed {seed}");
    }
}

#[test]
fn what_forbids_its_removal_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("d");
    fs::create_dir_all(place.join("e/f")).unwrap();
    fs::write(place.join("e/f/x"), "x").unwrap();
    for name in ["e/f", "e", ""] {
        fs::set_permissions(place.join(name), Permissions::from_mode(0o0)).unwrap();
    }
    remove(&place).unwrap();
    assert!(fs::symlink_metadata(&place).is_err());
}

#[test]
fn what_came_to_stand_at_the_target_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "new").unwrap();
    fs::write(&to, "old").unwrap();
    assert!(matches!(move_new(&from, &to), Err(ExportError::Exists(_))));
    assert_eq!(fs::read(&to).unwrap(), b"old");
    fs::remove_file(&to).unwrap();
    move_new(&from, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"new");
}
