use std::fs;
use std::os::unix::fs::symlink;

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

#[test]
fn an_unchanged_tree_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    fs::create_dir(&root).unwrap();
    for index in 0..200 {
        fs::write(root.join(format!("f{index}")), format!("content {index}")).unwrap();
    }
    fs::write(root.join("large"), vec![7; 3_000_000]).unwrap();
    let cache = folder.path().join("seen");
    let import_all = |seen: &mut Seen| {
        let nobody = &mut |_: Added| {};
        import(&root, &ImportOptions::default(), Some(seen), &mut |_| Ok(()), nobody).unwrap()
    };
    // What was written just now is not trusted: read until it is old enough.
    let first = import_all(&mut Seen::open(&cache));
    let mut last = first.clone();
    while last.unread < 201 {
        last = import_all(&mut Seen::open(&cache));
        assert_eq!(last.root, first.root);
    }
    let mut seen = Seen::open(&cache);
    let again = import_all(&mut seen);
    assert_eq!((again.unread, seen.answered().len()), (201, 201));
    fs::write(root.join("f7"), "other content").unwrap();
    let changed = import_all(&mut Seen::open(&cache));
    assert_ne!(changed.root, first.root);
    assert_eq!(changed.unread, 200);
    let mut seen = Seen::open(&cache);
    seen.clear();
    assert_eq!(import_all(&mut seen).unread, 0);
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
