//! `hpips config`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::rpc::{Call, Upload};

/// Show and change the configuration.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: Option<What>,
    /// The entry, as Datastore.StorageMax.
    #[arg(required = true)]
    key: Option<String>,
    /// Its new value; with --json it is read as JSON.
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    /// The value is true or false.
    #[arg(long)]
    bool: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the configuration without its secrets.
    Show,
    /// Sets of entries that go together.
    #[command(subcommand)]
    Profile(Profile),
    /// Take the configuration from a file.
    Replace {
        /// The file; - is standard input.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Profile {
    /// Set the entries of a profile.
    Apply {
        /// Its name.
        profile: String,
        /// Print what would change and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Applied {
    old_cfg: Value,
    new_cfg: Value,
}

impl Config {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.what {
            Some(What::Show) => context.show(Call::new("config/show"), |config: Value, out| {
                Ok(writeln!(out, "{}", pretty(&config)?)?)
            }),
            Some(What::Profile(Profile::Apply { profile, dry_run })) => {
                let call = Call::new("config/profile/apply").arg(profile).flag("dry-run", dry_run);
                context.show(call, |applied: Applied, out| {
                    let mut changes = Vec::new();
                    compare("", &applied.old_cfg, &applied.new_cfg, &mut changes);
                    changes.iter().try_for_each(|change| writeln!(out, "{change}"))?;
                    Ok(())
                })
            }
            Some(What::Replace { file }) => {
                let call = Call::new("config/replace").upload(vec![Upload::of(&file)]);
                context.show(call, |_: Value, _| Ok(()))
            }
            None => {
                let key = self.key.ok_or_else(|| Stop::usage("which entry? hpips config KEY [VALUE]"))?;
                let is_set = self.value.is_some();
                // Here --json says how the value is to be read, as with Kubo; --enc=json how to print.
                let call = Call::new("config")
                    .arg(key)
                    .args(self.value)
                    .flag("bool", self.bool)
                    .flag("json", context.json && !context.is_json_by_encoding());
                context.rpc()?.show(context.is_json_by_encoding(), call, |entry: Entry, out| {
                    match entry.value {
                        _ if is_set => Ok(()),
                        Value::String(text) => Ok(writeln!(out, "{text}")?),
                        value => Ok(writeln!(out, "{}", pretty(&value)?)?),
                    }
                })
            }
        }
    }
}

/// JSON in lines, two spaces deep.
fn pretty(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// Every entry that differs, as `Key.Of.It: old -> new`.
fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{name}");
            let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            compare(&path, &of(old), &of(new), changes);
        }
    } else if old != new {
        changes.push(format!("{path}: {old} -> {new}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_listed_by_entry() {
        let old = serde_json::json!({"A": {"B": 1, "C": "x"}, "D": [1]});
        let new = serde_json::json!({"A": {"B": 2, "C": "x"}, "E": true, "D": [1]});
        let mut changes = Vec::new();
        compare("", &old, &new, &mut changes);
        assert_eq!(changes, ["A.B: 1 -> 2", "E: null -> true"]);
    }
}
