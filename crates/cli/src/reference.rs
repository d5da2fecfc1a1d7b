//! The reference of the command line in `docs/cli.md` is what the program itself says.

use clap::CommandFactory;

use crate::Arguments;
use crate::commands::completion::write_pages;
use crate::context::EVERY_COMMAND;

const INTRODUCTION: &str = "\
# Command line

What `hpips help` says, command by command. Commands that Kubo also has take its arguments and options, and print what
`ipfs` prints. Every command takes `--json` (`--enc=json` is the same but in `config`): the result on standard output
is then JSON, one value a line, with the field names of Kubo's RPC where Kubo has the command. Messages and progress
go to standard error. A reader that goes away early is fine. Switches take `=true` and `=false`. `cat`, `get`, `ls`, `refs`,
`resolve`, `block get|rm|stat`, `dag get|stat` and `pin add|rm` read their arguments from standard input, one a line, when
none are given and it is no terminal. `hpips completion` prints completions for shells and writes man pages.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; unknown counts as failed |
| 2 | the command line is wrong |
| 3 | done in part; the message says which |
| 4 | not found in time |
| 5 | coins are missing, or nobody agreed to spend them; nothing was spent |
| 10 | there is no repo |
| 11 | another process owns the repo |
| 130 | interrupted; safe to repeat, but `wallet send` only as its message says |
";

fn describe(command: &mut clap::Command, path: &str, out: &mut String) {
    // The options of every command are listed once, with the program.
    let own = |argument: clap::Arg| {
        let is_common = argument.get_help_heading() == Some(EVERY_COMMAND) && path != "hpips";
        let hidden = argument.is_hide_set() || is_common;
        argument.hide(hidden)
    };
    let help = command.clone().mut_args(own).render_long_help().to_string();
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    out.push_str(&format!("\n## {path}\n\n```text\n{}\n```\n", help.trim_end()));
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .map(|command| command.get_name().to_owned())
        .collect();
    for name in names {
        let command = command.find_subcommand_mut(&name).expect("listed just now");
        describe(command, &format!("{path} {name}"), out);
    }
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn docs_cli_md_is_what_the_program_says() {
    let mut text = INTRODUCTION.to_owned();
    let mut command = Arguments::command().term_width(100).bin_name("hpips");
    command.build();
    describe(&mut command, "hpips", &mut text);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    if std::env::var_os("HPIPS_WRITE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/cli.md is not current: HPIPS_WRITE_DOCS=1 cargo test -p hpips-cli");
}

#[test]
fn docs_man_is_what_the_program_says() {
    let kept = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/man"));
    if std::env::var_os("HPIPS_WRITE_DOCS").is_some() {
        let _ = std::fs::remove_dir_all(kept);
        write_pages(kept).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    write_pages(folder.path()).unwrap();
    let pages = |folder: &std::path::Path| -> std::collections::BTreeMap<_, _> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| (entry.file_name(), std::fs::read_to_string(entry.path()).unwrap())).collect()
    };
    let (kept, made) = (pages(kept), pages(folder.path()));
    let differs = |name: &&std::ffi::OsString| kept.get(*name) != made.get(*name);
    let names: Vec<_> = kept.keys().chain(made.keys()).filter(differs).collect();
    assert!(names.is_empty(), "not current: {names:?}; HPIPS_WRITE_DOCS=1 cargo test -p hpips-cli");
}
