//! `files/*`: the mutable files.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract;
use axum::response::Response;
use cid::Cid;
use hpips_client::FilesError;
use hpips_client::files::{Existing, FilesEntry, FilesStat, FilesType, Parents, WriteOptions};
use hpips_dag::Mtime;
use hpips_types::content::HASHES;
use serde::Serialize;

use super::answer::{self, Form};
use super::base::CidForm;
use super::call::Call;
use super::error::RpcError;
use super::resolve::{Place, locate};
use super::state::State;

impl From<FilesError> for RpcError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Get(error) => Self::get(&error),
            error => Self::of(&error),
        }
    }
}

fn parents(call: &Call) -> Result<Parents, RpcError> {
    Ok(if call.flag(&["parents", "p"], false)? { Parents::Make } else { Parents::Require })
}

/// The content that a path names, where it is none of the mutable files.
async fn content(state: &State, call: &Call, path: &str) -> Result<Option<Place>, RpcError> {
    if ["/ipfs/", "/ipns/", "/ipld/"].iter().any(|namespace| path.starts_with(namespace)) {
        return Ok(Some(locate(state, call, path).await?));
    }
    Ok(None)
}

/// CID version 0 or not, and hash function, where the caller says so.
fn choices(call: &Call) -> Result<(Option<bool>, Option<u64>), RpcError> {
    let version = call.number::<u8>(&["cid-version", "cid-ver"])?;
    if let Some(version) = version.filter(|version| *version > 1) {
        return Err(RpcError::client(format!("unknown CID version {version}")));
    }
    let hash = call.option(&["hash"]).map(|name| {
        let known = HASHES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
        known.ok_or_else(|| RpcError::client(format!("unrecognized hash function: {name:?}")))
    });
    Ok((version.map(|version| version == 0), hash.transpose()?))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    entries: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    r#type: u8,
    size: u64,
    hash: String,
}

impl Entry {
    /// Kubo tells names alone unless it is asked for more.
    fn of(entry: FilesEntry, long: bool, form: &CidForm) -> Self {
        let FilesEntry { name, kind, size, hash } = entry;
        if !long {
            return Self { name, r#type: 0, size: 0, hash: String::new() };
        }
        Self { name, r#type: u8::from(kind == FilesType::Directory), size, hash: form.text(&hash) }
    }
}

pub(super) async fn list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.args().first().map_or("/", String::as_str).to_owned();
    let long = call.flag(&["long", "l"], false)?;
    let form = call.cid_form()?;
    let files = state.files(&call)?;
    answer::value(&call, move || {
        let entries = files.ls(&path)?;
        Ok(Listed { entries: entries.into_iter().map(|entry| Entry::of(entry, long, &form)).collect() })
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    hash: String,
    size: u64,
    cumulative_size: u64,
    blocks: usize,
    r#type: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    with_locality: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_local: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_nsecs: Option<u32>,
}

impl Described {
    fn of(stat: &FilesStat, form: &CidForm) -> Self {
        Self {
            hash: form.text(&stat.hash),
            size: stat.size,
            cumulative_size: stat.cumulative_size,
            blocks: stat.blocks,
            r#type: if stat.kind == FilesType::Directory { "directory" } else { "file" },
            with_locality: false,
            local: false,
            size_local: None,
            mode: stat.mode.map(|mode| format!("{mode:04o}")),
            mtime: stat.mtime.map(|mtime| mtime.seconds),
            mtime_nsecs: stat.mtime.map(|mtime| mtime.nanoseconds).filter(|nanoseconds| *nanoseconds > 0),
        }
    }
}

pub(super) async fn stat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.arg(0, "path")?.to_owned();
    let with_local = call.flag(&["with-local"], false)?;
    let form = call.cid_form()?;
    let files = state.files(&call)?;
    let place = content(&state, &call, &path).await?;
    answer::value(&call, move || {
        let stat = match &place {
            Some(place) => files.reading(Arc::clone(&place.blocks)).describe(place.whole()?, &path)?,
            None => files.stat(&path)?,
        };
        let mut described = Described::of(&stat, &form);
        if with_local {
            let (local, is_whole) = local_bytes(&state, stat.hash)?;
            described.with_locality = true;
            described.local = is_whole;
            described.size_local = Some(local);
        }
        Ok(described)
    })
    .await
}

/// Bytes of the blocks below a root that are here, and whether that is all of them.
fn local_bytes(state: &State, root: Cid) -> Result<(u64, bool), RpcError> {
    let store = state.store();
    let mut walk = hpips_dag::DepthFirst::new(root, usize::MAX);
    let (mut bytes, mut is_whole) = (0, true);
    while let Some(cid) = walk.next_cid() {
        let Some(size) = store.size(&cid)? else {
            is_whole = false;
            continue;
        };
        bytes += u64::from(size);
        if !hpips_dag::is_leaf_codec(&cid)
            && let Some(block) = store.get(&cid)?
        {
            walk.feed(&cid, &block).map_err(|error| RpcError::of(&error))?;
        }
    }
    Ok((bytes, is_whole))
}

pub(super) async fn mkdir(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.arg(0, "path")?.to_owned();
    let parents = parents(&call)?;
    let (cid_v0, hash) = choices(&call)?;
    let files = state.files(&call)?;
    answer::blocking(&call, move || Ok(files.mkdir(&path, parents, cid_v0, hash)?)).await?;
    Ok(answer::nothing())
}

pub(super) async fn copy(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let (from, to) = (call.arg(0, "source")?.to_owned(), call.arg(1, "dest")?.to_owned());
    let parents = parents(&call)?;
    let force = call.flag(&["force"], false)?;
    let existing = if force { Existing::Replace } else { Existing::Keep };
    let place = match from.starts_with('/') {
        true => content(&state, &call, &from).await?,
        false => Some(locate(&state, &call, &from).await?),
    };
    let files = state.files(&call)?;
    answer::blocking(&call, move || {
        let Some(place) = place else { return Ok(files.cp(&from, &to, parents, existing)?) };
        let root = place.whole()?;
        // The root block is kept here: without it the directory could not say what the entry is.
        let block = place.blocks.get(&root)?;
        let _hold = state.store().hold()?;
        state.store().put(vec![(root, block)])?;
        let name = place.path.segments.last().cloned().unwrap_or_else(|| root.to_string());
        Ok(files.link(root, &name, &to, parents, existing)?)
    })
    .await?;
    Ok(answer::nothing())
}

pub(super) async fn rename(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let (from, to) = (call.arg(0, "source")?.to_owned(), call.arg(1, "dest")?.to_owned());
    let files = state.files(&call)?;
    answer::blocking(&call, move || Ok(files.mv(&from, &to)?)).await?;
    Ok(answer::nothing())
}

pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let paths = call.some_args("path")?.to_vec();
    let force = call.flag(&["force"], false)?;
    let recursive = force || call.flag(&["recursive", "r"], false)?;
    let files = state.files(&call)?;
    answer::stream(&call, Form::Json, move |sink| {
        let mut has_failed = false;
        for path in &paths {
            match files.rm(path, recursive) {
                Ok(()) => {}
                Err(FilesError::NotFound { .. }) if force => {}
                Err(error) if paths.len() == 1 => return Err(error.into()),
                Err(error) => {
                    has_failed = true;
                    sink.json(&format!("{path}: {}", crate::error::chain_text(&error)))?;
                }
            }
        }
        if has_failed { Err(RpcError::new("can't remove some files")) } else { Ok(()) }
    })
    .await
}

pub(super) async fn read(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.arg(0, "path")?.to_owned();
    let offset = call.position(&["offset", "o"])?.unwrap_or(0);
    let count = call.position(&["count", "n"])?;
    let files = state.files(&call)?;
    answer::stream(&call, Form::Raw, move |sink| {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        files.read(&path, offset, count, &mut |part| sink.bytes(part).map_err(gone))?;
        Ok(())
    })
    .await
}

pub(super) async fn write(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    let path = call.arg(0, "path")?.to_owned();
    let (cid_v0, hash) = choices(&call)?;
    let options = WriteOptions {
        create: call.flag(&["create", "e"], false)?,
        truncate: call.flag(&["truncate", "t"], false)?,
        offset: call.position(&["offset", "o"])?.unwrap_or(0),
        count: call.position(&["count", "n"])?,
        parents: parents(&call)?,
        raw_leaves: call.maybe_flag(&["raw-leaves"])?,
        cid_v0,
        hash,
    };
    let mut parts = call.multipart("data")?;
    let files = state.files(&call)?;
    answer::blocking(&call, move || {
        if parts.next_part()?.is_none() {
            return Err(RpcError::client("the data to write is missing"));
        }
        files.write(&path, &options, &mut parts)?;
        Ok(())
    })
    .await?;
    Ok(answer::nothing())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Flushed {
    cid: String,
}

/// Every change is durable when it is answered, so nothing is left to be flushed.
pub(super) async fn flush(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.args().first().map_or("/", String::as_str).to_owned();
    let form = call.cid_form()?;
    let files = state.files(&call)?;
    answer::value(&call, move || Ok(Flushed { cid: form.text(&files.flush(&path)?) })).await
}

pub(super) async fn change_cid(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.args().first().map_or("/", String::as_str).to_owned();
    let (cid_v0, hash) = choices(&call)?;
    let files = state.files(&call)?;
    answer::blocking(&call, move || Ok(files.chcid(&path, cid_v0, hash)?)).await?;
    Ok(answer::nothing())
}

pub(super) async fn change_mode(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let (text, path) = (call.arg(0, "mode")?.to_owned(), call.arg(1, "path")?.to_owned());
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
    let mode =
        mode.ok_or_else(|| RpcError::client(format!("{text:?} is no mode: write it in octal, as 0644")))?;
    let files = state.files(&call)?;
    answer::blocking(&call, move || Ok(files.set_mode(&path, mode)?)).await?;
    Ok(answer::nothing())
}

pub(super) async fn touch(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let path = call.arg(0, "path")?.to_owned();
    let (seconds, nanoseconds) = (call.number::<i64>(&["mtime"])?, call.number::<u32>(&["mtime-nsecs"])?);
    let given = Mtime::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
        .ok_or_else(|| RpcError::client("mtime-nsecs is below 1000000000"))?;
    let mtime = if seconds.is_some() {
        given
    } else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Mtime { seconds: i64::try_from(now.as_secs()).unwrap_or(0), nanoseconds: now.subsec_nanos() }
    };
    let files = state.files(&call)?;
    answer::blocking(&call, move || Ok(files.set_mtime(&path, mtime)?)).await?;
    Ok(answer::nothing())
}
