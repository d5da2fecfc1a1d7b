//! Paths as callers write them.

use cid::Cid;

use super::error::RpcError;

/// `/ipfs/CID/a/b`, `CID/a/b`, `ipfs://CID/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpfsPath {
    /// Where it starts.
    pub(crate) root: Cid,
    /// Names below.
    pub(crate) segments: Vec<String>,
    /// As it was written.
    pub(crate) text: String,
}

impl IpfsPath {
    /// Reads a path. `.` and `..` are worked out first, as Kubo does, and cannot leave the root.
    pub(crate) fn parse(text: &str) -> Result<Self, RpcError> {
        let invalid = |why: &str| RpcError::new(format!("invalid path {text:?}: {why}"));
        let path = match text.strip_prefix("ipfs://") {
            Some(rest) => rest,
            None if text.starts_with("/ipns/") || text.starts_with("ipns://") => {
                return Err(invalid(
                    "content is wanted here, not a name: write the /ipfs path that it stands for",
                ));
            }
            None if text.starts_with('/') => text
                .strip_prefix("/ipfs/")
                .or_else(|| text.strip_prefix("/ipld/"))
                .ok_or_else(|| invalid("unknown namespace"))?,
            None => text,
        };
        let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let root = parts.next().ok_or_else(|| invalid("path does not have enough components"))?;
        let root: Cid = root.parse().map_err(|error| invalid(&format!("invalid cid: {error}")))?;
        let mut segments: Vec<String> = Vec::new();
        for part in parts {
            if part == ".." {
                segments.pop().ok_or_else(|| invalid("leaves its root"))?;
            } else if part.contains('\0') {
                return Err(invalid("a name with a NUL"));
            } else {
                segments.push(part.to_owned());
            }
        }
        Ok(Self { root, segments, text: text.to_owned() })
    }

    /// The path as others write it.
    pub(crate) fn canonical(&self) -> String {
        let below: String = self.segments.iter().map(|segment| format!("/{segment}")).collect();
        format!("/ipfs/{}{below}", self.root)
    }
}

/// A CID, of an argument that takes nothing else.
pub(crate) fn parse_cid(text: &str) -> Result<Cid, RpcError> {
    let text = text.strip_prefix("/ipfs/").unwrap_or(text);
    text.parse().map_err(|error| RpcError::new(format!("invalid path {text:?}: invalid cid: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_as_callers_write_them() {
        let cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
        for (text, segments) in [
            (cid.to_owned(), Some(vec![])),
            (format!("/ipfs/{cid}/a//b/"), Some(vec!["a", "b"])),
            (format!("ipfs://{cid}/./a"), Some(vec!["a"])),
            (format!("{cid}/a/../b"), Some(vec!["b"])),
            (format!("{cid}/.."), None),
            (format!("/ipns/{cid}"), None),
            (format!("/x/{cid}"), None),
            ("bogus".to_owned(), None),
            ("/ipfs/".to_owned(), None),
            (String::new(), None),
        ] {
            let found = IpfsPath::parse(&text).ok().map(|path| path.segments);
            assert_eq!(
                found,
                segments.map(|names| names.iter().map(ToString::to_string).collect()),
                "{text}"
            );
        }
    }
}
