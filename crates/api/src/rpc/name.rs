//! `name/*`: names of keys and their records.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use cid::multibase::Base;
use hpips_ipns::{Form, Name, RECORD_BYTES_MAX, Record};
use hpips_types::content::LIBP2P_KEY;
use serde::Serialize;
use zeroize::Zeroizing;

use super::answer;
use super::base::{base_of, write_cid};
use super::call::{Call, duration};
use super::error::RpcError;
use super::path::IpfsPath;
use super::resolve::locate;
use super::state::{KeyError, State};
use crate::names::{Ask, LIFETIME, NamingError, Publication, TTL, named, parse_name};
use crate::routing::{Reach, now};

/// The media type of a record.
const RECORD: &str = "application/vnd.ipfs.ipns-record";

impl From<NamingError> for RpcError {
    fn from(error: NamingError) -> Self {
        Self::of(&error)
    }
}

impl From<hpips_ipns::RecordError> for RpcError {
    fn from(error: hpips_ipns::RecordError) -> Self {
        Self::of(&error)
    }
}

/// Whom a command asks about a name.
pub(super) fn ask(state: &State, call: &Call) -> Result<Ask, RpcError> {
    let is_online = state.parts().names.routers().is_online() && !call.is_offline()?;
    Ok(Ask { reach: is_online.then_some(Reach::All), may_remember: true })
}

/// Whether nobody else may hear of what is published: because the caller says so, or because there is no node, which
/// the caller has to allow.
fn is_offline(state: &State, call: &Call) -> Result<bool, RpcError> {
    let may_be_offline = call.flag(&["allow-offline"], false)?;
    call.flag(&["allow-delegated"], false)?;
    if !state.parts().names.routers().is_online() && !may_be_offline {
        return Err(RpcError::new(
            "this action must be run in online mode, try running 'hpips daemon' first; or keep it here until a daemon \
             runs, with --allow-offline",
        ));
    }
    call.is_offline()
}

/// How names are written in the answer.
fn write_name(call: &Call, name: &Name) -> Result<String, RpcError> {
    Ok(match call.option(&["ipns-base"]) {
        None | Some("") => name.to_string(),
        Some("b58mh") => name.peer_id(),
        Some(base) => write_cid(&Cid::new_v1(LIBP2P_KEY, *name.cid().hash()), base_of(base)?),
    })
}

/// The secret of the key that a caller names, by its name or by what it prints as.
fn seed(state: &State, key: &str) -> Result<Zeroizing<[u8; 32]>, RpcError> {
    let keys = &state.parts().keys;
    let name: Option<Name> = key.parse().ok();
    let known = keys.list()?;
    let found = known
        .iter()
        .find(|known| known.name == key)
        .or_else(|| known.iter().find(|known| name.is_some() && known.peer_id.parse::<Name>().ok() == name));
    let found = found.ok_or_else(|| KeyError::Missing(key.to_owned()))?;
    Ok(keys.seed(&found.name)?)
}

/// An option that is a time.
fn time(call: &Call, names: &[&str]) -> Result<Option<Duration>, RpcError> {
    let Some(text) = call.option(names).filter(|text| !text.is_empty()) else { return Ok(None) };
    // Go reads a bare zero too.
    let time = if text == "0" { Some(Duration::ZERO) } else { duration(text) };
    let unreadable = || RpcError::new(format!("{}: {text:?} is no duration such as 48h or 5m", names[0]));
    time.map(Some).ok_or_else(unreadable)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    name: String,
    value: String,
}

pub(super) async fn publish(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let text = call.arg(0, "ipfs-path")?;
    let lifetime = time(&call, &["lifetime", "t"])?.unwrap_or(LIFETIME);
    let ttl = time(&call, &["ttl"])?.unwrap_or(TTL.min(lifetime));
    if ttl > lifetime {
        return Err(RpcError::new(format!("ttl ({ttl:?}) must not be greater than lifetime ({lifetime:?})")));
    }
    let form = if call.flag(&["v1compat"], true)? { Form::V1AndV2 } else { Form::V2 };
    let sequence = call.number(&["sequence"])?;
    call.flag(&["quieter", "Q"], false)?;
    let offline = is_offline(&state, &call)?;
    let value = match named(text) {
        Some(named) => {
            parse_name(named.split('/').next().unwrap_or_default())?;
            format!("/ipns/{}", named.trim_end_matches('/'))
        }
        None => IpfsPath::parse(text)?.canonical(),
    };
    if call.flag(&["resolve"], true)? {
        let place = locate(&state, &call, &value).await?;
        answer::blocking(&call, move || place.find()).await?;
    }
    let key = call.option(&["key", "k"]).unwrap_or("self").to_owned();
    let keys = state.clone();
    let seed = answer::blocking(&call, move || seed(&keys, &key)).await?;
    let publication = Publication { value: value.clone(), lifetime, ttl, sequence, form };
    let names = state.parts().names.clone();
    // A caller that leaves takes nothing back.
    let publishing = tokio::spawn(async move { names.publish(&seed, publication, offline).await });
    let (name, taken) = answer::in_time(&call, async { Ok(publishing.await??) }).await?;
    tracing::debug!(%name, taken, "published a name");
    answer::json(&Published { name: write_name(&call, &name)?, value })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resolved {
    path: String,
}

pub(super) async fn resolve(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let recursive = call.flag(&["recursive", "r"], true)?;
    let may_remember = !call.flag(&["nocache", "n"], false)?;
    call.number::<u64>(&["dht-record-count", "dhtrc"])?;
    let wait = time(&call, &["dht-timeout", "dhtt"])?.filter(|wait| !wait.is_zero());
    call.flag(&["stream", "s"], false)?;
    let own = &state.parts().identity.peer_id;
    let text = call.args().first().unwrap_or(own);
    let path = named(text).unwrap_or(text);
    let ask = Ask { may_remember, ..ask(&state, &call)? };
    let resolving = async { Ok(state.parts().names.resolve(path, recursive, ask).await?) };
    let resolved = match wait {
        None => answer::in_time(&call, resolving).await?,
        Some(wait) => {
            let in_time =
                async { tokio::time::timeout(wait, resolving).await.map_err(|_| RpcError::late())? };
            answer::in_time(&call, in_time).await?
        }
    };
    answer::json(&Resolved { path: resolved.path })
}

/// The record itself.
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let name = parse_name(call.arg(0, "name")?)?;
    let ask = ask(&state, &call)?;
    let record = answer::in_time(&call, async { Ok(state.parts().names.record(&name, ask).await?) }).await?;
    let mut response = Response::new(Bytes::copy_from_slice(record.bytes()).into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(RECORD));
    Ok(response)
}

/// The one record that a caller sends along.
pub(super) async fn sent(call: &mut Call, argument: &'static str) -> Result<Vec<u8>, RpcError> {
    let mut parts = call.multipart(argument)?;
    answer::blocking(call, move || {
        parts
            .next_part()?
            .ok_or_else(|| RpcError::client(format!("file argument '{argument}' is required")))?;
        // One byte more than a record may have, so that too long a one is told.
        Ok(parts.whole(RECORD_BYTES_MAX + 1)?.to_vec())
    })
    .await
}

pub(super) async fn put(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let name = parse_name(call.arg(0, "name")?)?;
    if call.flag(&["force", "f"], false)? {
        return Err(RpcError::new("records are always checked here: leave --force away"));
    }
    call.flag(&["quiet", "q"], false)?;
    let offline = is_offline(&state, &call)?;
    let record = Record::decode(&sent(&mut call, "record").await?)?;
    let value = record.content().value.clone();
    let names = state.parts().names.clone();
    let taking =
        tokio::spawn(async move { names.take(name, &record, true, (!offline).then_some(Reach::All)).await });
    answer::in_time(&call, async { Ok(taking.await??) }).await?;
    answer::json(&Published { name: name.to_string(), value })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    value: String,
    validity_type: u64,
    validity: String,
    sequence: u64,
    #[serde(rename = "TTL")]
    ttl: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Validation {
    valid: bool,
    reason: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    entry: Entry,
    pb_size: usize,
    signature_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    hex_dump: String,
    validation: Option<Validation>,
}

/// Needs no repo: what a record says stands in it.
pub(super) async fn inspect(mut call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let name = call.option(&["verify"]).filter(|text| !text.is_empty()).map(parse_name).transpose()?;
    let is_dumped = call.flag(&["dump"], true)?;
    let record = Record::decode(&sent(&mut call, "record").await?)?;
    let validation = name.map(|name| {
        let error = record.verify(&name, now()).err();
        Validation {
            valid: error.is_none(),
            reason: error.map(|error| error.to_string()).unwrap_or_default(),
            name: name.to_string(),
        }
    });
    let content = record.content();
    answer::json(&Inspected {
        entry: Entry {
            value: content.value.clone(),
            validity_type: 0,
            validity: content.validity.to_string(),
            sequence: content.sequence,
            ttl: content.ttl_nanoseconds,
        },
        pb_size: record.bytes().len(),
        signature_type: match record.form() {
            Form::V1AndV2 => "V1+V2",
            Form::V2 => "V2",
        },
        public_key: record.attached_key().map(|key| cid::multibase::encode(Base::Base64, key)),
        hex_dump: if is_dumped { dump(record.bytes()) } else { String::new() },
        validation,
    })
}

/// Sixteen bytes a line: where, in hexadecimal, as text.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let mut numbers = String::new();
        for (at, byte) in line.iter().enumerate() {
            let gap = if at == 7 { "  " } else { " " };
            let _ = write!(numbers, "{byte:02x}{gap}");
        }
        let plain = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = line.iter().map(plain).collect();
        let _ = writeln!(out, "{:08x}  {numbers:<49} |{text}|", number * 16);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_that_of_hexdump() {
        let expected = "00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|\n\
                        00000010  61                                                |a|\n";
        let bytes: Vec<u8> = (0..16).chain([b'a']).collect();
        assert_eq!(dump(&bytes), expected);
    }
}
