//! `cid/*`: CIDs taken apart and written in other ways. No repo is needed.

use axum::response::Response;
use cid::multibase::Base;
use cid::{Cid, Version};
use hpips_types::content::{DAG_PB, HASHES, cid_v1_with};
use serde::Serialize;

use super::answer::{self, Form};
use super::base::{BASES, base_of, write_cid};
use super::call::Call;
use super::error::RpcError;
use super::ipld::{CODECS, codec_of};

/// The number of a hash function.
pub(crate) fn hash_of(name: &str) -> Result<u64, RpcError> {
    let known = HASHES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
    known.ok_or_else(|| {
        let names: Vec<_> = HASHES.iter().map(|(_, name)| *name).collect();
        RpcError::new(format!("unrecognized hash function {name:?}: there are {}", names.join(", ")))
    })
}

/// The CID of a block by codec and name of a hash function.
pub(crate) fn cid_of(codec: u64, hash: &str, block: &[u8]) -> Result<Cid, RpcError> {
    cid_v1_with(codec, hash_of(hash)?, block).map_err(|error| RpcError::of(&error))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Formatted {
    cid_str: String,
    formatted: String,
    error_msg: String,
}

/// How CIDs are to be written.
struct Wanted {
    format: String,
    version: Option<Version>,
    codec: Option<u64>,
    base: Option<Base>,
}

pub(super) async fn format(call: Call) -> Result<Response, RpcError> {
    let version = match call.option(&["v", "version"]) {
        None | Some("") => None,
        Some("0") => Some(Version::V0),
        Some("1") => Some(Version::V1),
        Some(other) => return Err(RpcError::new(format!("invalid cid version: {other:?}"))),
    };
    let codec = call.option(&["mc", "codec"]).filter(|name| !name.is_empty()).map(codec_of).transpose()?;
    if version == Some(Version::V0) && codec.is_some_and(|codec| codec != DAG_PB) {
        return Err(RpcError::new("cannot convert to CIDv0 with any codec other than dag-pb"));
    }
    let wanted = Wanted {
        format: call.option(&["f", "format"]).unwrap_or("%s").to_owned(),
        version,
        codec,
        base: call
            .option(&["b", "multibase", "base"])
            .filter(|name| !name.is_empty())
            .map(base_of)
            .transpose()?,
    };
    convert(&call, wanted).await
}

pub(super) async fn base32(call: Call) -> Result<Response, RpcError> {
    let wanted = Wanted {
        format: "%s".into(),
        version: Some(Version::V1),
        codec: None,
        base: Some(Base::Base32Lower),
    };
    convert(&call, wanted).await
}

async fn convert(call: &Call, wanted: Wanted) -> Result<Response, RpcError> {
    let args = call.some_args("cid")?.to_vec();
    answer::stream(call, Form::Json, move |sink| {
        args.into_iter().try_for_each(|text| {
            let (formatted, error_msg) = match wanted.write(&text) {
                Ok(formatted) => (formatted, String::new()),
                Err(error) => (String::new(), error.message().to_owned()),
            };
            sink.json(&Formatted { cid_str: text, formatted, error_msg })
        })
    })
    .await
}

impl Wanted {
    fn write(&self, text: &str) -> Result<String, RpcError> {
        let (cid, written) = read(text)?;
        let codec = self.codec.unwrap_or(cid.codec());
        // Another codec or another base can only be said in version 1.
        let is_base58 = self.base.is_none_or(|base| base == Base::Base58Btc);
        let version =
            self.version.unwrap_or(if codec != DAG_PB || !is_base58 { Version::V1 } else { cid.version() });
        let cid = Cid::new(version, codec, *cid.hash()).map_err(|error| RpcError::new(error.to_string()))?;
        let base = match (self.base, version) {
            (Some(base), _) => base,
            (None, Version::V0) => Base::Base58Btc,
            // What came in version 0 goes out in base58btc unless something else is asked for.
            (None, Version::V1) => written,
        };
        if version == Version::V0 && base != Base::Base58Btc {
            return Err(RpcError::new("invalid base: CIDv0 is only written in base58btc"));
        }
        fill(&self.format, &cid, base)
    }
}

/// A CID and the base it is written in.
fn read(text: &str) -> Result<(Cid, Base), RpcError> {
    let invalid = |error: &dyn std::fmt::Display| RpcError::new(format!("invalid cid: {error}"));
    let bare = text.strip_prefix("/ipfs/").unwrap_or(text);
    let cid: Cid = bare.parse().map_err(|error| invalid(&error))?;
    let base = match cid.version() {
        Version::V0 => Base::Base58Btc,
        Version::V1 => {
            let letter = bare.chars().next().ok_or_else(|| invalid(&"too short"))?;
            Base::from_code(letter).map_err(|error| invalid(&error))?
        }
    };
    Ok((cid, base))
}

/// Fills Kubo's format: `%s` the CID, `%b` base, `%v` version, `%c` codec, `%h` hash, `%L` length, capital letters the
/// numbers; `%m`, `%M` multihash, `%d`, `%D` digest, with and without the base's letter.
fn fill(format: &str, cid: &Cid, base: Base) -> Result<String, RpcError> {
    let mut out = String::new();
    let mut letters = format.chars();
    let based = |bytes: &[u8]| cid::multibase::encode(base, bytes);
    let bare = |bytes: &[u8]| based(bytes).chars().skip(1).collect::<String>();
    let version = u64::from(cid.version());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let code = letters.next().ok_or_else(|| RpcError::new("invalid format string: ends with %"))?;
        match code {
            '%' => out.push('%'),
            'b' => out.push_str(base_name(base)),
            'B' => out.push(base.code()),
            'v' => out.push_str(&format!("cidv{version}")),
            'V' => out.push_str(&version.to_string()),
            'c' => out.push_str(&codec_name(cid.codec())),
            'C' => out.push_str(&cid.codec().to_string()),
            'h' => out.push_str(&hash_name(cid.hash().code())),
            'H' => out.push_str(&cid.hash().code().to_string()),
            'L' => out.push_str(&cid.hash().size().to_string()),
            'm' => out.push_str(&based(&cid.hash().to_bytes())),
            'M' => out.push_str(&bare(&cid.hash().to_bytes())),
            'd' => out.push_str(&based(cid.hash().digest())),
            'D' => out.push_str(&bare(cid.hash().digest())),
            's' => out.push_str(&write_cid(cid, base)),
            'S' if cid.version() == Version::V0 => out.push_str(&cid.to_string()),
            'S' => out.push_str(&bare(&cid.to_bytes())),
            'P' => out.push_str(&format!(
                "cidv{version}-{}-{}-{}",
                codec_name(cid.codec()),
                hash_name(cid.hash().code()),
                cid.hash().size()
            )),
            other => return Err(RpcError::new(format!("unrecognized specifier in format string: %{other}"))),
        }
    }
    Ok(out)
}

fn base_name(base: Base) -> &'static str {
    BASES.iter().find(|(_, known)| *known == base).map_or("unknown", |(name, _)| name)
}

/// The multicodec table's name of a codec.
pub(crate) fn codec_name(code: u64) -> String {
    let known = CODECS.iter().find(|(_, known)| *known == code);
    known.map_or_else(|| format!("unknown-{code:#x}"), |(name, _)| (*name).to_owned())
}

fn hash_name(code: u64) -> String {
    let known = HASHES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name);
    let known = known.or_else(|| (code == 0x11).then_some("sha1"));
    known.map_or_else(|| format!("unknown-{code:#x}"), str::to_owned)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CodeAndName {
    code: u64,
    name: &'static str,
}

pub(super) async fn bases(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    let all: Vec<_> = BASES
        .iter()
        // Identity has no printable letter: Kubo gives it none.
        .map(|(name, base)| CodeAndName {
            code: if *name == "identity" { 0 } else { u64::from(u32::from(base.code())) },
            name,
        })
        .collect();
    answer::json(&all)
}

pub(super) async fn codecs(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::json(&CODECS.iter().map(|(name, code)| CodeAndName { code: *code, name }).collect::<Vec<_>>())
}

pub(super) async fn hashes(call: Call) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::json(&HASHES.iter().map(|(code, name)| CodeAndName { code: *code, name }).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct Inspected {
    cid: String,
    version: u64,
    multibase: Prefixed,
    multicodec: Numbered,
    multihash: Hashed,
    #[serde(rename = "cidV0", skip_serializing_if = "Option::is_none")]
    cid_v0: Option<String>,
    #[serde(rename = "cidV1")]
    cid_v1: String,
}

#[derive(Serialize)]
struct Prefixed {
    prefix: String,
    name: &'static str,
}

#[derive(Serialize)]
struct Numbered {
    code: u64,
    name: String,
}

#[derive(Serialize)]
struct Hashed {
    code: u64,
    name: String,
    length: u8,
    digest: String,
}

pub(super) async fn inspect(call: Call) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let text = call.arg(0, "cid")?;
    let (cid, base) = read(text)?;
    let hash = cid.hash();
    let v0 = Cid::new(Version::V0, cid.codec(), *hash).ok().filter(|_| cid.codec() == DAG_PB);
    answer::json(&Inspected {
        cid: text.strip_prefix("/ipfs/").unwrap_or(text).to_owned(),
        version: u64::from(cid.version()),
        multibase: Prefixed { prefix: base.code().to_string(), name: base_name(base) },
        multicodec: Numbered { code: cid.codec(), name: codec_name(cid.codec()) },
        multihash: Hashed {
            code: hash.code(),
            name: hash_name(hash.code()),
            length: hash.size(),
            digest: cid::multibase::encode(Base::Base16Lower, hash.digest()).split_off(1),
        },
        cid_v0: v0.map(|cid| cid.to_string()),
        cid_v1: Cid::new_v1(cid.codec(), *hash).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cids_are_written_as_kubo_writes_them() {
        let v0 = "QmXoypizjW3WknFiJnKLwHCnL72vedxjQkDDP1mXWo6uco";
        let v1 = "bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq";
        let write = |text: &str, format: &str, version, base: Option<&str>| {
            let base = base.map(|base| base_of(base).unwrap());
            Wanted { format: format.into(), version, codec: None, base }
                .write(text)
                .map_err(|e| e.message().to_owned())
        };
        assert_eq!(write(v0, "%s", None, None).unwrap(), v0);
        assert_eq!(write(v0, "%s", Some(Version::V1), Some("b")).unwrap(), v1);
        assert_eq!(write(v1, "%s", Some(Version::V0), Some("base58btc")).unwrap(), v0);
        assert_eq!(
            write(v0, "%P %b %B %V %C", None, None).unwrap(),
            "cidv0-dag-pb-sha2-256-32 base58btc z 0 112"
        );
        assert_eq!(
            write(v0, "%s", Some(Version::V1), Some("base36")).unwrap(),
            "k2jmtxuvdkukgbdnrvg2koek803yuj4y2uymmm2li26tz1ccjld4f3jo"
        );
        assert!(write("bogus", "%s", None, None).unwrap_err().starts_with("invalid cid"));
        assert!(write(v0, "%x", None, None).is_err());
        assert!(write(v0, "%", None, None).is_err());
    }
}
