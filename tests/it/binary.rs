//! The program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// `hpips`, built as `cargo build` builds it; the tests' own build has made everything it needs but the link.
pub(crate) fn hpips() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
        let mut build = Command::new(env!("CARGO"));
        // Build scripts of dependencies look at what cargo tells a test about its own package, and would all run again:
        // three minutes, and three more for whoever builds the program next.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_of_test =
                ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|own| name.starts_with(own));
            if is_of_test || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name.as_str())
            {
                build.env_remove(name);
            }
        }
        let built = build
            .args(["build", "--locked", "--quiet", "-p", "hpips-cli"])
            .current_dir(root)
            .status()
            .expect("cargo runs");
        assert!(built.success(), "cargo build -p hpips-cli failed");
        // .../target/debug/deps/it-... -> .../target/debug/hpips
        let test = std::env::current_exe().expect("the test's own path");
        let program = test.ancestors().nth(2).expect("target/debug").join("hpips");
        assert!(program.exists(), "{} is missing", program.display());
        program
    });
    &PROGRAM
}

/// Runs the program on a repo and returns what it printed.
pub(crate) fn run(repo: &Path, args: &[&str]) -> Output {
    Command::new(hpips()).args(args).env("HPIPS_PATH", repo).output().expect("the program starts")
}

/// As [`run`], for a command that succeeds; its standard output as text.
pub(crate) fn ok(repo: &Path, args: &[&str]) -> String {
    let output = run(repo, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "hpips {}: {:?}\n{errors}", args.join(" "), output.status);
    String::from_utf8(output.stdout).expect("text")
}
