//! `key/*`: the keys of the repo.

use axum::extract;
use axum::response::Response;
use bytes::Bytes;
use cid::Cid;
use cid::multibase::Base;
use hpips_types::content::LIBP2P_KEY;
use multihash::Multihash;
use serde::Serialize;
use zeroize::Zeroizing;

use super::answer::{self, Form};
use super::base::{base_of, write_cid};
use super::call::Call;
use super::error::RpcError;
use super::state::{KeyError, NamedKey, State};

/// A key's file is some dozens of bytes.
const KEY_BYTES_MAX: usize = 64 << 10;
/// libp2p's protobuf of an ed25519 secret: type 1, then 64 bytes, the seed and the public key.
const PROTOBUF: &[u8] = &[0x08, 0x01, 0x12, 0x40];
/// PKCS #8 of an ed25519 seed (RFC 8410, section 7).
const PKCS8: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

impl From<KeyError> for RpcError {
    fn from(error: KeyError) -> Self {
        Self::of(&error)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: String,
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    keys: Vec<Named>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Renamed {
    was: String,
    now: String,
    id: String,
    overwrite: bool,
}

/// How a key's name is written: `b58mh` as a peer's, or a multibase of a CID.
#[derive(Clone, Copy)]
enum Writing {
    PeerId,
    Cid(Base),
}

impl Writing {
    fn of(call: &Call) -> Result<Self, RpcError> {
        Ok(match call.option(&["ipns-base"]) {
            None | Some("") => Self::Cid(Base::Base36Lower),
            Some("b58mh") => Self::PeerId,
            Some(name) => Self::Cid(base_of(name)?),
        })
    }

    fn view(self, key: NamedKey) -> Result<Named, RpcError> {
        let id = match self {
            Self::PeerId => key.peer_id,
            Self::Cid(base) => write_cid(&Cid::new_v1(LIBP2P_KEY, multihash_of(&key.peer_id)?), base),
        };
        Ok(Named { name: key.name, id })
    }
}

fn multihash_of(peer_id: &str) -> Result<Multihash<64>, RpcError> {
    let bytes = Base::Base58Btc.decode(peer_id).map_err(|error| RpcError::of(&error))?;
    Multihash::from_bytes(&bytes).map_err(|error| RpcError::of(&error))
}

pub(super) async fn generate(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let writing = Writing::of(&call)?;
    match call.option(&["type", "t"]).unwrap_or("ed25519") {
        "ed25519" | "" => {}
        other => return Err(RpcError::new(format!("unrecognized key type: {other}: keys here are ed25519"))),
    }
    let name = own_name(call.arg(0, "name")?, "create")?;
    answer::value(&call, move || writing.view(state.parts().keys.add(&name, None)?)).await
}

fn own_name(name: &str, action: &'static str) -> Result<String, RpcError> {
    if name == "self" { Err(KeyError::Own(action).into()) } else { Ok(name.to_owned()) }
}

pub(super) async fn list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let writing = Writing::of(&call)?;
    answer::value(&call, move || {
        let keys = state.parts().keys.list()?;
        Ok(Names { keys: keys.into_iter().map(|key| writing.view(key)).collect::<Result<_, _>>()? })
    })
    .await
}

pub(super) async fn rename(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let writing = Writing::of(&call)?;
    let force = call.flag(&["force", "f"], false)?;
    let from = own_name(call.arg(0, "name")?, "rename")?;
    let to = own_name(call.arg(1, "newName")?, "overwrite")?;
    answer::value(&call, move || {
        let (key, overwrite) = state.parts().keys.rename(&from, &to, force)?;
        let named = writing.view(key)?;
        Ok(Renamed { was: from, now: named.name, id: named.id, overwrite })
    })
    .await
}

pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let writing = Writing::of(&call)?;
    let names: Vec<String> =
        call.some_args("name")?.iter().map(|name| own_name(name, "remove")).collect::<Result<_, _>>()?;
    answer::value(&call, move || {
        let keys = &state.parts().keys;
        let known = keys.list()?;
        // All are looked for before any is removed.
        if let Some(missing) = names.iter().find(|name| !known.iter().any(|key| key.name == **name)) {
            return Err(KeyError::Missing(missing.clone()).into());
        }
        let removed = names.iter().map(|name| writing.view(keys.remove(name)?)).collect::<Result<_, _>>()?;
        Ok(Names { keys: removed })
    })
    .await
}

pub(super) async fn export(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let is_pem = is_pem(&call)?;
    let name = own_name(call.arg(0, "name")?, "export")?;
    answer::stream(&call, Form::Raw, move |sink| {
        let keys = &state.parts().keys;
        let key =
            keys.list()?.into_iter().find(|key| key.name == name).ok_or(KeyError::Missing(name.clone()))?;
        let seed = keys.seed(&name)?;
        let text = if is_pem {
            pem(&seed)
        } else {
            Zeroizing::new([PROTOBUF, &seed[..], &public_key(&key.peer_id)?].concat())
        };
        sink.bytes(Bytes::copy_from_slice(&text))
    })
    .await
}

fn is_pem(call: &Call) -> Result<bool, RpcError> {
    match call.option(&["format", "f"]).unwrap_or("libp2p-protobuf-cleartext") {
        "libp2p-protobuf-cleartext" => Ok(false),
        "pem-pkcs8-cleartext" => Ok(true),
        other => Err(RpcError::new(format!(
            "unrecognized export format {other:?}: use libp2p-protobuf-cleartext or pem-pkcs8-cleartext"
        ))),
    }
}

/// The key inside a peer's name.
fn public_key(peer_id: &str) -> Result<Vec<u8>, RpcError> {
    let hash = multihash_of(peer_id)?;
    let key = hash.digest().strip_prefix(&[0x08, 0x01, 0x12, 0x20]);
    key.map(<[u8]>::to_vec).ok_or_else(|| KeyError::Malformed("the name holds no key").into())
}

fn pem(seed: &Zeroizing<[u8; 32]>) -> Zeroizing<Vec<u8>> {
    let der = Zeroizing::new([PKCS8, &seed[..]].concat());
    let text = Zeroizing::new(Base::Base64Pad.encode(&der[..]));
    Zeroizing::new([PEM_BEGIN, "\n", &text, "\n", PEM_END, "\n"].concat().into_bytes())
}

pub(super) async fn import(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let writing = Writing::of(&call)?;
    let is_pem = is_pem(&call)?;
    call.flag(&["allow-any-key-type"], false)?;
    let name = own_name(call.arg(0, "name")?, "import")?;
    let mut parts = call.multipart("key")?;
    answer::value(&call, move || {
        parts.next_part()?.ok_or_else(|| RpcError::client("file argument 'key' is required"))?;
        let text = Zeroizing::new(parts.whole(KEY_BYTES_MAX)?.to_vec());
        let seed = if is_pem { seed_of_pem(&text)? } else { seed_of_protobuf(&text)? };
        writing.view(state.parts().keys.add(&name, Some(seed))?)
    })
    .await
}

fn seed_of_protobuf(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, RpcError> {
    let malformed = |what| RpcError::from(KeyError::Malformed(what));
    let key = text.strip_prefix(PROTOBUF).ok_or_else(|| malformed("not libp2p's protobuf of one"))?;
    // Old files repeat the public key at the end.
    let seed = key.get(..32).filter(|_| key.len() == 64 || key.len() == 96);
    seed_of(seed.ok_or_else(|| malformed("of another length"))?)
}

fn seed_of_pem(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, RpcError> {
    let malformed = |what| RpcError::from(KeyError::Malformed(what));
    let text = std::str::from_utf8(text).map_err(|_| malformed("not PEM"))?;
    let (_, rest) = text.split_once(PEM_BEGIN).ok_or_else(|| malformed("not PEM of a private key"))?;
    let (body, _) = rest.split_once(PEM_END).ok_or_else(|| malformed("PEM without an end"))?;
    let body = Zeroizing::new(body.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let der =
        Zeroizing::new(Base::Base64Pad.decode(&body[..]).map_err(|_| malformed("PEM that is no base64"))?);
    seed_of(der.strip_prefix(PKCS8).ok_or_else(|| malformed("PKCS #8 of another kind of key"))?)
}

fn seed_of(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, RpcError> {
    let seed: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Malformed("of another length"))?;
    Ok(Zeroizing::new(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_both_forms() {
        let seed = Zeroizing::new([7; 32]);
        assert_eq!(*seed_of_pem(&pem(&seed)).unwrap(), [7; 32]);
        let protobuf = [PROTOBUF, &[7; 32], &[9; 32]].concat();
        assert_eq!(*seed_of_protobuf(&protobuf).unwrap(), [7; 32]);
        for len in 0..protobuf.len() {
            assert!(seed_of_protobuf(&protobuf[..len]).is_err(), "{len}");
        }
        let text = pem(&seed);
        for len in 0..text.len() - 1 {
            assert!(seed_of_pem(&text[..len]).is_err(), "{len}");
        }
    }
}
