//! How CIDs are written.

use cid::multibase::Base;
use cid::{Cid, Version};

use super::error::RpcError;

/// Multibases as Kubo names them, with the letter that begins a text.
pub(crate) const BASES: &[(&str, Base)] = &[
    ("identity", Base::Identity),
    ("base2", Base::Base2),
    ("base32", Base::Base32Lower),
    ("base32upper", Base::Base32Upper),
    ("base32pad", Base::Base32PadLower),
    ("base32padupper", Base::Base32PadUpper),
    ("base16", Base::Base16Lower),
    ("base16upper", Base::Base16Upper),
    ("base36", Base::Base36Lower),
    ("base36upper", Base::Base36Upper),
    ("base64", Base::Base64),
    ("base64pad", Base::Base64Pad),
    ("base32hexpad", Base::Base32HexPadLower),
    ("base32hexpadupper", Base::Base32HexPadUpper),
    ("base64url", Base::Base64Url),
    ("base64urlpad", Base::Base64UrlPad),
    ("base32hex", Base::Base32HexLower),
    ("base32hexupper", Base::Base32HexUpper),
    ("base58btc", Base::Base58Btc),
    ("base58flickr", Base::Base58Flickr),
    ("base256emoji", Base::Base256Emoji),
];

/// The base of a name or of the single letter that stands for it.
pub(crate) fn base_of(name: &str) -> Result<Base, RpcError> {
    let by_name = BASES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, base)| *base);
    let mut letters = name.chars();
    let by_letter = match (letters.next(), letters.next()) {
        (Some(letter), None) => Base::from_code(letter).ok(),
        _ => None,
    };
    by_name.or(by_letter).ok_or_else(|| RpcError::new(format!("unsupported multibase encoding: {name}")))
}

/// The form of the CIDs of one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CidForm {
    base: Option<Base>,
    upgrade: bool,
}

impl CidForm {
    /// As asked for: a base writes CIDs of version 1; version 0 is changed too with `upgrade`.
    pub(crate) fn new(base: Option<&str>, upgrade: bool) -> Result<Self, RpcError> {
        let base = base.filter(|base| !base.is_empty()).map(base_of).transpose()?;
        // Kubo: another base than base58btc needs version 1, so it is implied.
        let upgrade = upgrade || base.is_some_and(|base| base != Base::Base58Btc);
        Ok(Self { base, upgrade })
    }

    /// Writes a CID.
    pub(crate) fn text(&self, cid: &Cid) -> String {
        let cid = match cid.version() {
            Version::V0 if self.upgrade => Cid::new_v1(cid.codec(), *cid.hash()),
            _ => *cid,
        };
        match self.base {
            Some(base) => write_cid(&cid, base),
            None => cid.to_string(),
        }
    }
}

/// A CID in a base; version 0 has one form only.
pub(crate) fn write_cid(cid: &Cid, base: Base) -> String {
    match cid.version() {
        Version::V0 => cid.to_string(),
        Version::V1 => cid::multibase::encode(base, cid.to_bytes()),
    }
}
