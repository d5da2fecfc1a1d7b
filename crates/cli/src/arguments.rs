//! What was typed, as clap knows it. Two things that Kubo's users are used to are done here for all commands at once:
//! switches take `=true` and `=false`, and arguments of some commands come as lines from standard input.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, Parser};

use crate::Arguments;

/// Commands whose arguments are lines of standard input where none were typed, as with Kubo.
const TAKE_LINES: &[&str] = &[
    "block get",
    "block rm",
    "block stat",
    "cat",
    "dag get",
    "dag stat",
    "get",
    "ls",
    "pin add",
    "pin rm",
    "refs",
    "resolve",
];
/// Bytes of lines at most: some hundred thousand CIDs.
const LINES_BYTES_MAX: u64 = 32 << 20;

/// Parses what was typed, the program's name first.
pub(crate) fn parse(typed: impl Iterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let mut plain = Plain::of(&Arguments::command(), typed);
    let parsed = Arguments::try_parse_from(&plain.words);
    match parsed {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && plain.takes_lines() => {
            let lines = lines(io::stdin().lock()).unwrap_or_default();
            if lines.is_empty() {
                return Err(error);
            }
            plain.words.push("--".into());
            plain.words.extend(lines);
            Arguments::try_parse_from(&plain.words)
        }
        parsed => parsed,
    }
}

fn lines(input: impl Read) -> io::Result<Vec<OsString>> {
    let mut words = Vec::new();
    for line in io::BufReader::new(input.take(LINES_BYTES_MAX)).lines() {
        let line = line?;
        if !line.trim().is_empty() {
            words.push(line.trim().into());
        }
    }
    Ok(words)
}

/// The words of a command line, switches without values.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    words: Vec<OsString>,
    /// The names of the command, as `pin add`.
    command: String,
}

impl Plain {
    fn of(program: &Command, typed: impl Iterator<Item = OsString>) -> Self {
        let mut way = vec![program];
        let mut words = Vec::new();
        let mut names = Vec::new();
        let mut only_words = false;
        for (at, word) in typed.enumerate() {
            only_words |= word == "--";
            let text = word.to_str().filter(|_| !only_words && at > 0);
            let below = text.and_then(|text| way.last()?.find_subcommand(text));
            if let Some(below) = below {
                names.push(below.get_name());
                way.push(below);
            }
            match text.and_then(|text| switch(&way, text)) {
                Some(plain) => words.extend(plain.map(OsString::from)),
                None => words.push(word),
            }
        }
        Self { words, command: names.join(" ") }
    }

    fn takes_lines(&self) -> bool {
        TAKE_LINES.contains(&self.command.as_str()) && !io::stdin().is_terminal()
    }
}

/// A switch with a value as clap takes it, or nothing where it is switched off; `None` for all other words.
fn switch(way: &[&Command], word: &str) -> Option<Option<String>> {
    let (name, value) = word.split_once('=')?;
    // Go's strconv.ParseBool.
    let is_on = match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => return None,
    };
    let arg = way.iter().rev().flat_map(|command| command.get_arguments()).find(|arg| is_named(arg, name))?;
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Some(is_on.then(|| name.to_owned()));
    }
    let takes_bool = arg.get_possible_values().iter().any(|value| value.get_name() == "true");
    takes_bool.then(|| Some(format!("{name}={is_on}")))
}

fn is_named(arg: &Arg, name: &str) -> bool {
    if let Some(long) = name.strip_prefix("--") {
        return arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|all| all.contains(&long));
    }
    let mut letters = name.strip_prefix('-').unwrap_or_default().chars();
    letters.next().is_some_and(|letter| arg.get_short() == Some(letter)) && letters.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> (String, String) {
        let plain = Plain::of(&Arguments::command(), text.split(' ').map(OsString::from));
        let words: Vec<_> = plain.words.iter().map(|word| word.to_str().unwrap()).collect();
        (words.join(" "), plain.command)
    }

    #[test]
    fn switches_take_values_as_with_kubo() {
        for (typed, words, command) in [
            ("hpips add -q=true --only-hash=1 x", "hpips add -q --only-hash x", "add"),
            ("hpips add --wrap-with-directory=false --pin=0 x", "hpips add --pin=false x", "add"),
            ("hpips add --raw-leaves=T --hash=1 x", "hpips add --raw-leaves=true --hash=1 x", "add"),
            ("hpips pin add --recursive=f --progress=F x", "hpips pin add --recursive=false x", "pin add"),
            ("hpips --json=false --offline=true pin ls", "hpips --offline pin ls", "pin ls"),
            ("hpips add --quiet=maybe", "hpips add --quiet=maybe", "add"),
            ("hpips cat -- --quiet=true", "hpips cat -- --quiet=true", "cat"),
        ] {
            assert_eq!(plain(typed), (words.to_owned(), command.to_owned()), "{typed}");
        }
    }

    #[test]
    fn commands_that_take_lines_are_commands() {
        let program = Arguments::command();
        for names in TAKE_LINES {
            let way = names.split(' ').try_fold(&program, |command, name| command.find_subcommand(name));
            assert!(way.is_some_and(|command| command.get_positionals().next().is_some()), "{names}");
        }
        assert_eq!(lines(&b"a\r\n\n b \nc"[..]).unwrap(), ["a", "b", "c"]);
    }
}
