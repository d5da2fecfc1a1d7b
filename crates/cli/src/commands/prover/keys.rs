//! `hpips prover keys`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use hpips_circuits::json::KeyExport;
use hpips_circuits::{KeyError, Origin, circuit};
use hpips_dag::{FileBuilder, Profile};
use hpips_proofs::CircuitKind;
use hpips_prover::{ArrivalError, Arriving, KeyFile, KeyFolder, KeyPart, KeyStoreError};
use hpips_types::{ByteCount, NetworkParams};
use serde::Serialize;

use super::Place;
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::{Redrawn, Report, chain_text, emit};
use crate::rpc::Call;
use crate::table::write_table;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// List the key files of a network.
#[derive(Debug, clap::Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read the files whole and compare them with their hashes; print their CIDs.
    Verify(#[command(flatten)] Place),
    /// Print the verifying keys as JSON.
    Export(#[command(flatten)] Place),
    /// Fetch key files by their CIDs and put them into their places.
    ///
    /// Which circuit a file belongs to is told by its first bytes. It is compared with its own hash and put into its
    /// place only when it is whole; another good key that lies there is not replaced.
    Get(Get),
}

#[derive(Debug, clap::Args)]
struct Get {
    /// CIDs, or paths below them.
    #[arg(required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    place: Place,
}

impl Keys {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.what {
            None => emit(&Listing::of(self.place, context, Depth::Ends)?, context.json),
            Some(What::Verify(place)) => verify(place, context),
            Some(What::Export(place)) => export(place, context),
            Some(What::Get(command)) => command.run(context),
        }
    }
}

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Ends,
    Whole,
}

#[derive(Serialize)]
struct Listing {
    network: String,
    folder: PathBuf,
    files: Vec<Row>,
    #[serde(skip)]
    way_out: &'static str,
}

/// One file that a network has.
#[derive(Serialize)]
struct Row {
    circuit: &'static str,
    /// `verifying` or `proving`.
    key: &'static str,
    /// The circuit's id.
    id: String,
    path: PathBuf,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum State {
    Missing,
    Refused {
        why: String,
    },
    /// Seen, and where it was read whole, equal to its hash.
    Here {
        bytes: u64,
        is_insecure: bool,
        constraints: String,
        hash: String,
        /// Where it was read whole: what `hpips add` would give.
        cid: Option<String>,
    },
}

impl Listing {
    fn of(place: Place, context: &Context, depth: Depth) -> anyhow::Result<Self> {
        let (params, config) = place.resolve(context)?;
        let folder = KeyFolder::new(&config.cache_dir, &params)?;
        let mut files = Vec::new();
        for kind in circuit::KINDS {
            for part in [KeyPart::Verifying, KeyPart::Proving] {
                let path = folder.path(kind, part);
                let found = match depth {
                    Depth::Ends => folder.find(kind, part),
                    Depth::Whole => folder.verify(kind, part),
                };
                let id = folder.circuit(kind).to_string();
                let state = State::of(found, &path, depth)?;
                files.push(Row { circuit: circuit::name(kind), key: name(part), id, path, state });
            }
        }
        let way_out = way_out(&params);
        Ok(Self { network: params.name, folder: config.cache_dir, files, way_out })
    }
}

impl State {
    fn of(found: Result<Option<KeyFile>, KeyStoreError>, path: &Path, depth: Depth) -> anyhow::Result<Self> {
        let file = match found {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Self::Missing),
            Err(error) => return Ok(Self::Refused { why: chain_text(&error.into()) }),
        };
        let cid = if depth == Depth::Whole { Some(cid(path)?) } else { None };
        Ok(Self::Here {
            bytes: file.bytes,
            is_insecure: file.of.origin == Origin::InsecureTest,
            constraints: file.of.constraints.to_string(),
            hash: file.hash.to_string(),
            cid,
        })
    }
}

const fn name(part: KeyPart) -> &'static str {
    match part {
        KeyPart::Verifying => "verifying",
        KeyPart::Proving => "proving",
    }
}

/// What to do about a file that is not to be used.
fn way_out(params: &NetworkParams) -> &'static str {
    if params.is_test() {
        "remove it: keys of a test network are made again when they are needed"
    } else {
        "remove it and fetch it again: hpips prover keys get CID"
    }
}

/// The CID that the file has on the content network.
fn cid(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut builder = FileBuilder::new(Profile::unixfs_v1_2025());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut blocks = Vec::new();
        match file.read(&mut buffer)? {
            0 => return Ok(builder.finish(&mut blocks).cid.to_string()),
            // The blocks are not kept: only the name is wanted.
            count => builder.push(&buffer[..count], &mut blocks),
        }
    }
}

impl Report for Listing {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} in {}", self.network, self.folder.display())?;
        let short = |text: &str| text.chars().take(16).collect::<String>();
        let is_whole = |row: &Row| matches!(row.state, State::Here { cid: Some(_), .. });
        let head: &[&str] = if self.files.iter().any(is_whole) {
            &["circuit", "key", "size", "origin", "CID"]
        } else {
            &["circuit", "key", "size", "origin", "id", "constraints", "hash"]
        };
        let mut rows: Vec<Vec<String>> = vec![head.iter().map(ToString::to_string).collect()];
        for row in &self.files {
            let mut cells = vec![row.circuit.to_owned(), row.key.to_owned()];
            match &row.state {
                State::Missing => cells.push("missing".to_owned()),
                State::Refused { why } => cells.push(format!("REFUSED: {why}; {}", self.way_out)),
                State::Here { bytes, is_insecure, constraints, hash, cid } => {
                    cells.push(ByteCount::new(*bytes).to_short());
                    cells.push(if *is_insecure { "insecure" } else { "ceremony" }.to_owned());
                    match cid {
                        Some(cid) => cells.push(cid.clone()),
                        None => cells.extend([&row.id, constraints, hash].map(|text| short(text))),
                    }
                }
            }
            rows.push(cells);
        }
        write_table(out, &rows)
    }
}

fn verify(place: Place, context: &Context) -> anyhow::Result<Exit> {
    let listing = Listing::of(place, context, Depth::Whole)?;
    emit(&listing, context.json)?;
    let refused: Vec<String> = listing
        .files
        .iter()
        .filter(|row| matches!(row.state, State::Refused { .. }))
        .map(|row| row.path.display().to_string())
        .collect();
    if !refused.is_empty() {
        let text = format!("not usable: {}; {}", refused.join(", "), listing.way_out);
        return Err(Stop::new(Exit::Failed, text).into());
    }
    if listing.files.iter().all(|row| matches!(row.state, State::Missing)) {
        return Err(none(&listing.network, &listing.folder).into());
    }
    Ok(Exit::Done)
}

fn none(network: &str, folder: &Path) -> Stop {
    let text = format!(
        "no keys of {network} in {}. Those of a test network are made when a node or hpips prover bench first needs \
         them, those of others are fetched: hpips prover keys get CID; another folder: --keys DIR",
        folder.display()
    );
    Stop::new(Exit::NotFound, text)
}

#[derive(Serialize)]
struct Exported {
    network: String,
    keys: Vec<KeyExport>,
}

impl Report for Exported {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}

fn export(place: Place, context: &Context) -> anyhow::Result<Exit> {
    let (params, config) = place.resolve(context)?;
    let folder = KeyFolder::new(&config.cache_dir, &params)?;
    let mut keys = Vec::new();
    for kind in circuit::KINDS {
        let key = folder.verifying_key(kind).map_err(|error| {
            let text = format!("{}. Nothing was written; {}", chain_text(&error.into()), way_out(&params));
            Stop::new(Exit::Failed, text)
        })?;
        keys.push(KeyExport::new(kind, &key.ok_or_else(|| none(&params.name, &config.cache_dir))?));
    }
    emit(&Exported { network: params.name, keys }, context.json)
}

/// One file that was fetched.
#[derive(Serialize)]
struct Fetched {
    path: String,
    circuit: &'static str,
    key: &'static str,
    bytes: u64,
    hash: String,
    file: PathBuf,
    /// Whether the same file had been there.
    was_here: bool,
}

impl Report for Fetched {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { circuit, key, bytes, file, .. } = self;
        let how = if self.was_here { "had been there" } else { "checked" };
        writeln!(out, "{circuit} {key} key  {}  {how}  {}", ByteCount::new(*bytes).to_short(), file.display())
    }
}

impl Get {
    fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (params, config) = self.place.resolve(context)?;
        let folder = KeyFolder::new(&config.cache_dir, &params)?;
        let rpc = context.rpc()?;
        for path in self.paths {
            let refused = |error| refused(&path, &params, error);
            let mut arriving = Arriving::begin(&folder).map_err(refused)?;
            let mut shown = Progress::new();
            rpc.bytes(Call::new("cat").arg(&path), |part| {
                arriving.write(part).map_err(refused)?;
                shown.more(part.len(), arriving.found());
                Ok(())
            })?;
            drop(shown);
            let arrived = arriving.finish().map_err(refused)?;
            let fetched = Fetched {
                circuit: circuit::name(arrived.kind),
                key: name(arrived.part),
                bytes: arrived.file.bytes,
                hash: arrived.file.hash.to_string(),
                file: arrived.path,
                was_here: arrived.was_here,
                path,
            };
            emit(&fetched, context.json)?;
        }
        Ok(Exit::Done)
    }
}

fn refused(path: &str, params: &NetworkParams, error: ArrivalError) -> Stop {
    let hint = match &error {
        ArrivalError::Key(KeyError::Insecure { .. }) => "",
        ArrivalError::Key(KeyError::Circuit | KeyError::Constraints) => {
            "; it may be one of another network: --network"
        }
        ArrivalError::Key(_) | ArrivalError::TooLong { .. } => "; see whether the CID is the right one",
        ArrivalError::Occupied { .. } => "; remove it if it is to be replaced",
        ArrivalError::Busy { .. } => "; wait for it, or end it",
        ArrivalError::Folder(_) => "",
    };
    let text = format!(
        "{path} was not taken as a key of {}: {}{hint}. Nothing was changed",
        params.name,
        chain_text(&anyhow::Error::from(error))
    );
    Stop::new(Exit::Failed, text)
}

/// What is shown on a terminal while a file arrives.
struct Progress {
    is_terminal: bool,
    line: Redrawn,
    bytes: u64,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), line: Redrawn::default(), bytes: 0 }
    }

    fn more(&mut self, bytes: usize, found: Option<(CircuitKind, KeyPart)>) {
        self.bytes += bytes as u64;
        if self.is_terminal {
            let size = ByteCount::new(self.bytes).to_short();
            match found {
                Some((kind, part)) => {
                    self.line.draw(format_args!("{} {} key  {size}", circuit::name(kind), name(part)));
                }
                None => self.line.draw(size),
            }
        }
    }
}
