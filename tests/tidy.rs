//! Checks the house: rooms and arrows, lints, sizes of files, links of the documents, licences.
//!
//! Each test names what it found and what to do, so that nobody has to read this file to mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may import whom; DESIGN's map of rooms. An arrow that is not here is refused.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("crypto", &["types"]),
    ("dag", &["types", "crypto"]),
    ("erasure", &["types", "crypto"]),
    ("placement", &["types", "crypto"]),
    ("proofs", &["types", "crypto"]),
    ("circuits", &["types", "crypto", "proofs"]),
    ("ledger", &["types", "crypto", "placement", "proofs"]),
    ("bitswap", &["types"]),
    ("ipns", &["types", "crypto"]),
    ("store", &["types", "crypto", "dag", "bitswap"]),
    ("net", &["types", "crypto", "bitswap", "ipns"]),
    ("prover", &["types", "crypto", "proofs", "circuits"]),
    ("chain", &["types", "crypto", "proofs", "ledger", "net", "store"]),
    ("client", &[CORES, ADAPTERS]),
    ("provider", &[CORES, ADAPTERS]),
    ("fuse", &["client", "store", "dag", "types"]),
    ("api", &[CORES, ADAPTERS, ROLES]),
    ("node", &[CORES, ADAPTERS, ROLES, "api", "fuse"]),
    ("testnet", &[CORES, ADAPTERS, ROLES, "api", "node", "fuse"]),
    ("cli", &[CORES, ADAPTERS, ROLES, "api", "node", "testnet", "fuse"]),
    ("tests", &[]),
];

const CORES: &str = "(cores)";
const ADAPTERS: &str = "(adapters)";
const ROLES: &str = "(roles)";

/// What the shorthand of the map stands for.
fn expand(name: &'static str) -> Vec<&'static str> {
    match name {
        CORES => {
            vec![
                "types",
                "crypto",
                "dag",
                "erasure",
                "placement",
                "proofs",
                "circuits",
                "ledger",
                "bitswap",
                "ipns",
            ]
        }
        ADAPTERS => vec!["store", "net", "prover", "chain"],
        ROLES => vec!["client", "provider"],
        other => vec![other],
    }
}

/// Rooms whose code may contain `unsafe`, and in which file. Cores deny it elsewhere.
const UNSAFE_FILES: &[&str] = &[
    "crates/erasure/src/kernel.rs",
    "crates/erasure/src/kernel/x86.rs",
    "crates/crypto/src/lanes.rs",
    "crates/crypto/src/lanes/avx2.rs",
    "crates/crypto/src/lanes/ifma.rs",
];

/// Longest file of the workspace, in lines. Look for a seam long before.
const LINES_MAX: usize = 900;

/// Licences that a dependency may have.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

/// Every file under the folder that is not a build product, relative to the root.
fn files(under: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(under).expect("a folder of the checkout").flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if [".git", "target", "shared"].contains(&name.as_str()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

fn all_files() -> Vec<(String, PathBuf)> {
    let mut out = Vec::new();
    files(&root(), &mut out);
    out.into_iter()
        .map(|path| (path.strip_prefix(root()).expect("under the root").to_string_lossy().into_owned(), path))
        .collect()
}

#[test]
fn top_level_is_as_designed() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "Justfile",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "CHANGELOG.md",
        "crates",
        "fuse",
        "circuits",
        "testnet",
        "tests",
        "docs",
        "target",
    ];
    for entry in fs::read_dir(root()).expect("the checkout").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || allowed.contains(&name.as_str()),
            "{name} does not belong on the top level: find its room (docs/architecture.md)"
        );
    }
}

#[test]
fn arrows_point_down() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let map: BTreeMap<&str, BTreeSet<&str>> =
        ROOMS.iter().map(|(room, may)| (*room, may.iter().flat_map(|name| expand(name)).collect())).collect();
    for package in &metadata.packages {
        let room = package.name.strip_prefix("hpips-").expect("packages are called hpips-<dir>");
        let directory = package.manifest_path.parent().expect("a manifest lies in a folder");
        assert_eq!(directory.file_name(), Some(room), "package {} lies in another folder", package.name);
        let Some(may) = map.get(room) else {
            panic!("room {room} is not on the map: add it to DESIGN's table and to ROOMS");
        };
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            if let Some(other) = dependency.name.strip_prefix("hpips-") {
                assert!(may.contains(other), "{room} imports {other}: the map has no such arrow");
            }
            if dependency.name.starts_with("commonware-") {
                let wanted = dependency.req.to_string();
                assert!(
                    wanted.starts_with('='),
                    "{room}: {} {wanted} must be pinned by `=`",
                    dependency.name
                );
            }
        }
        let manifest = fs::read_to_string(&package.manifest_path).expect("a manifest");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{room}: Cargo.toml lacks `[lints] workspace = true`"
        );
    }
}

#[test]
fn cores_deny_unsafe_and_touch_nothing() {
    for core in expand(CORES) {
        let folder =
            if core == "circuits" { root().join("circuits") } else { root().join("crates").join(core) };
        let lib = fs::read_to_string(folder.join("src/lib.rs")).expect("a core's lib.rs");
        if core != "types" {
            assert!(
                lib.contains("(unsafe_code)]"),
                "{core}: lib.rs needs #![forbid(unsafe_code)], or deny where a kernel is allowed"
            );
        }
    }
    for (name, path) in all_files() {
        let Some(core) = expand(CORES).into_iter().find(|core| {
            name.starts_with(&format!("crates/{core}/src"))
                || (*core == "circuits" && name.starts_with("circuits/src"))
        }) else {
            continue;
        };
        let text = fs::read_to_string(&path).expect("a source file");
        if !UNSAFE_FILES.contains(&name.as_str()) {
            assert!(!text.contains("unsafe {"), "{name}: unsafe code in core {core}");
        }
        let code = text.split("#[cfg(test)]").next().expect("a text before the tests");
        for forbidden in
            ["std::fs::", "std::net::", "std::env::", "SystemTime", "Instant::now", "tokio::", "thread_rng"]
        {
            let used =
                code.lines().any(|line| line.contains(forbidden) && !line.trim_start().starts_with("//"));
            assert!(
                !used || name.contains("test"),
                "{name}: core {core} uses {forbidden}: hand it in instead"
            );
        }
    }
}

#[test]
fn files_are_short_and_plain() {
    for (name, path) in all_files() {
        if !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let lines = text.lines().count();
        let data = name.ends_with("constants.rs");
        assert!(data || lines <= LINES_MAX, "{name} has {lines} lines: split it at a seam");
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            assert!(!comment || line.is_ascii(), "{name}:{}: comments are ASCII", number + 1);
        }
    }
}

#[test]
fn documents_name_what_exists() {
    for (name, path) in all_files() {
        if !name.ends_with(".md") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a document");
        let folder = path.parent().expect("a document lies in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().expect("a part before the anchor");
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{name}: link to {target} leads nowhere");
        }
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "/_-.".contains(c))) {
            let word = word.trim_end_matches(['.', '/']);
            if (word.starts_with("crates/") || word.starts_with("docs/") || word.starts_with("tests/"))
                && !word.contains("..")
            {
                assert!(root().join(word).exists(), "{name}: {word} does not exist");
            }
        }
    }
}

#[test]
fn dependencies_have_known_licences_and_one_source() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .expect("cargo metadata");
    for package in &metadata.packages {
        if let Some(source) = &package.source {
            assert!(source.is_crates_io(), "{} comes from another source than the registry", package.name);
        }
        let Some(licence) = &package.license else {
            assert!(package.license_file.is_some(), "{} names no licence", package.name);
            continue;
        };
        let alternatives = licence.replace('/', " OR ");
        let fine = alternatives.split(" OR ").any(|choice| {
            choice
                .split(" AND ")
                .map(|part| part.trim_matches(['(', ')', ' ']).split(" WITH ").next().unwrap_or_default())
                .all(|part| LICENCES.contains(&part))
        });
        assert!(fine, "{}: licence {licence} is not on the list in tests/tidy.rs", package.name);
    }
}
