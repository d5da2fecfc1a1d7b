use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

fn run(path: &Path, options: &ImportOptions) -> (ImportReport, Vec<Added>) {
    let mut all = Vec::new();
    let report = import(path, options, None, &mut |_| Ok(()), &mut |added: Added| all.push(added)).unwrap();
    (report, all)
}

fn names(added: &[Added]) -> Vec<&str> {
    added.iter().map(|added| added.name.as_str()).collect()
}

#[test]
fn a_folder_has_the_published_cid_and_prints_as_kubo_does() {
    let folder = tempfile::tempdir().unwrap();
    let planets = folder.path().join("planets");
    fs::create_dir(&planets).unwrap();
    fs::write(planets.join("venus.txt"), "Hello Venus!\n").unwrap();
    fs::write(planets.join("mars.txt"), "Hello Mars!\n").unwrap();
    fs::write(planets.join(".hidden"), "not taken").unwrap();
    let options = ImportOptions { profile: Profile::unixfs_v0_2015(), ..ImportOptions::default() };
    let (report, added) = run(&planets, &options);
    assert_eq!(report.root.to_string(), "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY");
    assert_eq!(names(&added), ["planets/mars.txt", "planets/venus.txt", "planets"]);
    assert_eq!((report.files, report.bytes.get()), (2, 25));
    let (with_hidden, _) = run(&planets, &ImportOptions { hidden: true, ..options });
    assert_ne!(with_hidden.root, report.root);
}

#[test]
fn directories_come_last_and_inner_ones_first() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    fs::create_dir_all(root.join("b/c")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    for name in ["a", "b/x", "b/c/y", "z"] {
        fs::write(root.join(name), name).unwrap();
    }
    symlink("a", root.join("link")).unwrap();
    let (_, added) = run(&root, &ImportOptions::default());
    assert_eq!(names(&added), ["r/a", "r/b/c/y", "r/b/x", "r/link", "r/z", "r/b/c", "r/b", "r/empty", "r"]);
    let filter = Filter::new(&["b/c".into(), "*z*".into()], None).unwrap();
    let options = ImportOptions { filter, skip_empty_directories: true, ..ImportOptions::default() };
    let (_, added) = run(&root, &options);
    assert_eq!(names(&added), ["r/a", "r/b/x", "r/link", "r/b", "r"]);
    let (_, added) = run(&root, &ImportOptions { follow_links: true, ..ImportOptions::default() });
    assert_eq!(added.iter().find(|added| added.name == "r/link").unwrap().bytes, 1);
}

#[test]
fn bad_paths_say_which() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let nobody = &mut |_: Added| {};
    let error = import(&missing, &ImportOptions::default(), None, &mut |_| Ok(()), nobody).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let refuse = import(folder.path(), &ImportOptions::default(), None, &mut |_| Err("full".into()), nobody);
    assert!(matches!(refuse, Err(ImportError::Sink(_))), "{refuse:?}");
}

/// Has or loses all blocks.
struct Blocks {
    epoch: u64,
    are_here: bool,
}

impl Stored for Blocks {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn has_all(&self, _root: &Cid) -> bool {
        self.are_here
    }
}

fn seen_in_epoch(path: &Path, epoch: u64, are_here: bool) -> Seen {
    Seen::open(path, Arc::new(Blocks { epoch, are_here }))
}

fn import_with(root: &Path, seen: &mut Seen) -> (ImportReport, usize, Vec<String>) {
    let (mut told, mut blocks) = (Vec::new(), 0);
    let mut sink = |batch: Batch| {
        blocks += batch.blocks.len();
        Ok(())
    };
    let listener = &mut |added: Added| told.push(added.name);
    let report = import(root, &ImportOptions::default(), Some(seen), &mut sink, listener).unwrap();
    (report, blocks, told)
}

/// Imports until every file is old enough to be trusted.
fn import_until_old(root: &Path, cache: &Path, files: u64) -> ImportReport {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (report, ..) = import_with(root, &mut seen_in_epoch(cache, 1, true));
        if report.unread == files {
            return report;
        }
        assert!(Instant::now() < deadline, "files never grow old");
    }
}

/// A tree of 203 files: many in one directory, a large one, some deeper.
fn tree(folder: &Path) -> PathBuf {
    let root = folder.join("r");
    fs::create_dir_all(root.join("a/b")).unwrap();
    for index in 0..200 {
        fs::write(root.join(format!("f{index}")), format!("content {index}")).unwrap();
    }
    fs::write(root.join("large"), vec![7; 3_000_000]).unwrap();
    fs::write(root.join("a/one"), "one").unwrap();
    fs::write(root.join("a/b/two"), "two").unwrap();
    symlink("large", root.join("link")).unwrap();
    root
}

#[test]
fn an_unchanged_tree_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let cache = folder.path().join("seen");
    let first = import_until_old(&root, &cache, 203);
    let (again, blocks, told) = import_with(&root, &mut seen_in_epoch(&cache, 1, true));
    assert_eq!((&again, told.len()), (&first, 207));
    assert_eq!(blocks, 1, "only the link is made, no directory built");
    fs::write(root.join("f7"), "other content").unwrap();
    let (changed, blocks, _) = import_with(&root, &mut seen_in_epoch(&cache, 1, true));
    assert_ne!(changed.root, first.root);
    assert_eq!((changed.unread, blocks), (202, 3), "the file, the link, the root");
    fs::write(root.join("f7"), "content 7").unwrap();
    assert_eq!(import_until_old(&root, &cache, 203).root, first.root);
    let mut seen = seen_in_epoch(&cache, 1, true);
    seen.clear();
    assert_eq!(import_with(&root, &mut seen).0.unread, 0);
}

#[test]
fn a_file_that_is_gone_or_renamed_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let cache = folder.path().join("seen");
    import_until_old(&root, &cache, 203);
    fs::remove_file(root.join("f9")).unwrap();
    fs::rename(root.join("a/one"), root.join("a/other")).unwrap();
    let (report, _, told) = import_with(&root, &mut seen_in_epoch(&cache, 1, true));
    let (fresh, told_fresh) = run(&root, &ImportOptions::default());
    assert_eq!(report.root, fresh.root);
    assert_eq!(report.unread, 201);
    assert_eq!(told, names(&told_fresh));
}

#[test]
fn what_the_store_lost_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let cache = folder.path().join("seen");
    let first = import_until_old(&root, &cache, 203);
    let (looked_for, blocks, _) = import_with(&root, &mut seen_in_epoch(&cache, 2, true));
    assert_eq!((looked_for.root, looked_for.unread), (first.root, 203));
    assert_eq!(blocks, 4, "directories are built");
    let (trusted, blocks, _) = import_with(&root, &mut seen_in_epoch(&cache, 2, false));
    assert_eq!((trusted.unread, blocks), (203, 1), "remembered for this epoch");
    let (lost, _, _) = import_with(&root, &mut seen_in_epoch(&cache, 3, false));
    assert_eq!((lost.root, lost.unread), (first.root, 0));
}

#[test]
fn one_file_is_remembered_among_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let cache = folder.path().join("seen");
    import_until_old(&root, &cache, 203);
    let one = |name: &str| import_with(&root.join(name), &mut seen_in_epoch(&cache, 1, true)).0.unread;
    assert_eq!((one("f3"), one("large")), (1, 1));
    fs::write(root.join("f3"), "changed").unwrap();
    assert_eq!(one("f3"), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while one("f3") == 0 {
        assert!(Instant::now() < deadline, "the file never grows old");
    }
    let (report, _, _) = import_with(&root, &mut seen_in_epoch(&cache, 1, true));
    assert_eq!(report.unread, 203, "the others are still known");
}

#[test]
fn blocks_that_were_refused_are_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let cache = folder.path().join("seen");
    let mut seen = seen_in_epoch(&cache, 1, true);
    let full = &mut |_: Batch| Err("full".into());
    let refused = import(&root, &ImportOptions::default(), Some(&mut seen), full, &mut |_: Added| {});
    assert!(matches!(refused, Err(ImportError::Sink(_))), "{refused:?}");
    assert!(!cache.exists());
}

#[test]
fn a_deep_and_wide_tree_is_walked_as_a_single_thread_would() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    for (a, b) in (0..20).flat_map(|a| (0..5).map(move |b| (a, b))) {
        let below = root.join(format!("a{a}/b{b}/c"));
        fs::create_dir_all(&below).unwrap();
        for (file, bytes) in [("x", 0), ("y", 10 + a), ("z", 300_000)] {
            fs::write(below.join(file), vec![u8::try_from(b).unwrap(); bytes]).unwrap();
        }
        fs::write(root.join(format!("a{a}/m{b}")), vec![9; 1_200_000]).unwrap();
    }
    let (report, added) = run(&root, &ImportOptions::default());
    assert_eq!((report.files, added.len()), (400, 400 + 221));
    let files: Vec<_> = names(&added[..400]).into_iter().map(str::to_owned).collect();
    let mut sorted = files.clone();
    // As paths, not as text: a name ends before the slash.
    sorted.sort_by(|one, two| one.split('/').cmp(two.split('/')));
    assert_eq!(files, sorted);
    for cores in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(cores).build().unwrap();
        assert_eq!(pool.install(|| run(&root, &ImportOptions::default())).0.root, report.root);
    }
}

#[test]
fn leaves_can_stay_in_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = tree(folder.path());
    let options = ImportOptions { nocopy: true, ..ImportOptions::default() };
    let (mut blocks, mut lent) = (Vec::new(), Vec::new());
    let mut sink = |batch: Batch| {
        blocks.extend(batch.blocks);
        lent.extend(batch.lent);
        Ok(())
    };
    let report = import(&root, &options, None, &mut sink, &mut |_: Added| {}).unwrap();
    assert_eq!(report.root, run(&root, &ImportOptions::default()).0.root);
    assert_eq!(blocks.len(), 5, "three directories, the large file's root, the link");
    assert_eq!(lent.len(), 203);
    for Lent { path, rows } in lent {
        let content = fs::read(path).unwrap();
        for (cid, offset, bytes) in rows {
            let start = usize::try_from(offset).unwrap();
            let leaf = &content[start..start + usize::try_from(bytes).unwrap()];
            hpips_types::content::verify_block(&cid, leaf).unwrap();
        }
    }
}

#[test]
fn one_that_is_told_to_stop_stops() {
    struct Impatient(u64);
    impl Listener for Impatient {
        fn added(&mut self, _added: Added) {}
        fn bytes(&mut self, more: u64) {
            self.0 += more;
        }
        fn is_cancelled(&self) -> bool {
            self.0 > 0
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("large"), vec![0; 40 << 20]).unwrap();
    let mut listener = Impatient(0);
    let options = ImportOptions::default();
    let outcome = import(folder.path(), &options, None, &mut |_| Ok(()), &mut listener);
    assert!(matches!(outcome, Err(ImportError::Interrupted)), "{outcome:?}");
    assert!(listener.0 < 40 << 20);
}
