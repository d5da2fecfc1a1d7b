//! The `hpips` program: parses, resolves, acts, and says how it went.

#![allow(rustdoc::invalid_html_tags, reason = "the help texts name their parts as Kubo does: <hash>")]

mod arguments;
mod commands;
mod context;
mod exit;
mod moment;
mod output;
#[cfg(test)]
mod reference;
mod rpc;
mod table;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Command;
use crate::context::Context;
use crate::exit::Exit;

/// Shares what computers leave idle: store files on many machines, or earn by storing.
#[derive(Debug, Parser)]
#[command(name = "hpips", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: context::Global,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        // A group without a command: its help, and the code of a wrong command line.
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::message(help.render());
            return Exit::Usage.into();
        }
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            output::message(format_args!(
                "hpips: {}",
                text.strip_prefix("error: ").unwrap_or(&text).trim_end()
            ));
            return Exit::Usage.into();
        }
        Err(help) => {
            let _ = help.print();
            return Exit::Done.into();
        }
    };
    let context = Context::new(arguments.global);
    match arguments.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            output::message(format_args!("hpips: {}", output::chain_text(&error)));
            exit::classify(&error).into()
        }
    }
}
