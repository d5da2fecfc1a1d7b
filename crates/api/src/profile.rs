//! What decides the CIDs of what is added: one rule for the command line, the node's own endpoint and the RPC.

use hpips_dag::{Chunking, Layout, Profile};
use hpips_types::content::{HASHES, SHA2_256};
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, chain_text};

/// What `--inline` inlines unless `--inline-limit` says otherwise, bytes (Kubo).
const INLINE_BYTES: usize = 32;
/// Bits of `chmod`.
const MODE_MAX: u32 = 0o7777;

/// What decides a CID, as flags and options say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileRequest {
    /// Name of a profile; the configuration's where absent.
    pub name: Option<String>,
    /// CID version; without a named profile 0 and 1 mean what they mean to `ipfs add`.
    pub cid_version: Option<u8>,
    /// Whether leaves are raw blocks.
    pub raw_leaves: Option<bool>,
    /// Name of a hash function.
    pub hash: Option<String>,
    /// How files are cut, as `size-1048576`.
    pub chunker: Option<String>,
    /// Whether files are laid out as trickle DAGs.
    pub trickle: bool,
    /// Most links of a node of a file.
    pub max_file_links: Option<u64>,
    /// Most links of a folder in one block.
    pub max_directory_links: Option<u64>,
    /// Most links of a node of a folder in many blocks.
    pub max_hamt_fanout: Option<u64>,
    /// Whether small blocks are put into their CIDs.
    pub inline: bool,
    /// How small, bytes.
    pub inline_limit: Option<u64>,
}

impl ProfileRequest {
    /// The profile meant. `configured`: `Import.Profile` of the repo's configuration.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`](crate::ErrorCode::BadRequest) for unknown names and values out of range.
    pub fn resolve(&self, configured: &str) -> Result<Profile, ApiError> {
        fn wrong(error: impl std::error::Error + 'static) -> ApiError {
            ApiError::bad_request(chain_text(&error))
        }
        fn given(text: Option<&String>) -> Option<&str> {
            text.map(String::as_str).filter(|text| !text.is_empty())
        }
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let named = given(self.name.as_ref());
        let mut profile = match (named, self.cid_version) {
            (None, Some(0)) => Profile::unixfs_v0_2015(),
            (None, Some(1)) => Profile::cid_version_1(),
            (named, version) => {
                let profile = by_name(named.unwrap_or(configured))?;
                match version {
                    None => profile,
                    Some(version @ (0 | 1)) => profile.with_cid_version(version == 0),
                    Some(version) => {
                        return Err(ApiError::bad_request(format!("unknown CID version {version}")));
                    }
                }
            }
        };
        profile = match self.raw_leaves {
            None => profile,
            Some(true) => profile.with_raw_leaves(),
            Some(false) => profile.with_wrapped_leaves(),
        };
        if let Some(name) = given(self.hash.as_ref()) {
            let code = hash_code(name)?;
            if self.cid_version == Some(0) && code != SHA2_256 {
                return Err(ApiError::bad_request("CIDv0 only supports sha2-256: --cid-version 1"));
            }
            let was_v0 = profile.is_cid_v0();
            profile = profile.with_hash(code).map_err(wrong)?;
            // Version 1 has raw leaves unless they were refused.
            if was_v0 && !profile.is_cid_v0() && self.raw_leaves.is_none() {
                profile = profile.with_raw_leaves();
            }
        }
        if let Some(chunker) = given(self.chunker.as_ref()).filter(|chunker| *chunker != "default") {
            profile = profile.with_chunking(chunker.parse::<Chunking>().map_err(wrong)?);
        }
        if self.trickle {
            profile = profile.with_layout(Layout::Trickle);
        }
        if let Some(links) = self.max_file_links {
            profile = profile.with_file_links(count(links)).map_err(wrong)?;
        }
        if let Some(links) = self.max_directory_links {
            profile = profile.with_directory_links(count(links));
        }
        if let Some(fanout) = self.max_hamt_fanout {
            profile = profile.with_hamt_fanout(count(fanout)).map_err(wrong)?;
        }
        if self.inline {
            profile = profile.with_inline(self.inline_limit.map_or(INLINE_BYTES, count)).map_err(wrong)?;
        }
        Ok(profile)
    }
}

fn by_name(name: &str) -> Result<Profile, ApiError> {
    if name.is_empty() {
        return Ok(Profile::default());
    }
    Profile::by_name(name).ok_or_else(|| {
        ApiError::bad_request(format!("no profile {name:?}: there are unixfs-v1-2025 and unixfs-v0-2015"))
    })
}

fn hash_code(name: &str) -> Result<u64, ApiError> {
    let known = HASHES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(code, _)| *code);
    known.ok_or_else(|| {
        let names: Vec<_> = HASHES.iter().map(|(_, name)| *name).collect();
        ApiError::bad_request(format!("unrecognized hash function {name:?}: there are {}", names.join(", ")))
    })
}

/// Permission bits as Kubo reads a number: octal with a leading 0 or 0o, hexadecimal with 0x, binary with 0b, else
/// decimal.
///
/// # Errors
/// [`ErrorCode::BadRequest`](crate::ErrorCode::BadRequest).
pub fn parse_mode(text: &str) -> Result<u32, ApiError> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // A sign is none of the digits.
    let mode = u32::from_str_radix(digits, radix).ok().filter(|mode| *mode <= MODE_MAX);
    mode.filter(|_| !digits.starts_with('+')).ok_or_else(|| {
        ApiError::bad_request(format!("{text} is no mode: write it in octal with a leading 0, as 0644"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(request: ProfileRequest, configured: &str) -> Option<Profile> {
        request.resolve(configured).ok()
    }

    #[test]
    fn the_configuration_decides_where_nothing_is_said() {
        let none = ProfileRequest::default;
        let version = |version| ProfileRequest { cid_version: Some(version), ..none() };
        let named = ProfileRequest { name: Some("unixfs-v1-2025".into()), ..none() };
        let old = "unixfs-v0-2015";
        assert_eq!(resolve(none(), old), Some(Profile::unixfs_v0_2015()));
        assert_eq!(resolve(none(), "unixfs-v1-2025"), Some(Profile::unixfs_v1_2025()));
        assert_eq!(resolve(named.clone(), old), Some(Profile::unixfs_v1_2025()));
        assert_eq!(resolve(version(1), old), Some(Profile::cid_version_1()));
        assert_eq!(
            resolve(ProfileRequest { cid_version: Some(0), ..named }, old),
            Some(Profile::unixfs_v1_2025().with_cid_version(true))
        );
        assert_eq!(resolve(version(2), old), None);
        assert_eq!(resolve(ProfileRequest { name: Some("x".into()), ..none() }, old), None);
    }

    #[test]
    fn version_0_has_one_hash_function() {
        let hash = |version| ProfileRequest {
            hash: Some("blake3".into()),
            cid_version: version,
            ..ProfileRequest::default()
        };
        assert_eq!(resolve(hash(Some(0)), "unixfs-v0-2015"), None);
        let implied = resolve(hash(None), "unixfs-v0-2015").unwrap();
        assert!(!implied.is_cid_v0());
        let asked = ProfileRequest { raw_leaves: Some(true), ..hash(None) };
        assert_eq!(resolve(asked, "unixfs-v0-2015"), Some(implied), "version 1 has raw leaves");
        assert!(resolve(hash(Some(1)), "unixfs-v0-2015").is_some());
    }

    #[test]
    fn modes_are_read_as_kubo_reads_them() {
        for (text, mode) in [
            ("0644", Some(0o644)),
            ("0o755", Some(0o755)),
            ("0x1ff", Some(0o777)),
            ("0b111", Some(7)),
            ("420", Some(0o644)),
            ("0", Some(0)),
            ("9x", None),
            ("08", None),
            ("+1", None),
            ("-1", None),
            ("", None),
            ("010000", None),
        ] {
            assert_eq!(parse_mode(text).ok(), mode, "{text}");
        }
    }
}
