//! A path below a root, followed.

use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::{Resolver, Walk, WalkError};
use hpips_types::content::{DAG_CBOR, DAG_PB};

use super::codec::{self, Followed};
use super::error::ReadError;
use super::format::DAG_JSON;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    /// The root, and what each segment of the path stands for; the last is what is asked for.
    pub(super) roots: Vec<Cid>,
    /// Segments that lead into a document and not to a link.
    pub(super) remainder: Vec<String>,
}

impl Resolution {
    /// What is asked for.
    pub(super) fn cid(&self) -> Cid {
        *self.roots.last().expect("begins with the root")
    }
}

/// Follows names through directories and documents. Blocks that were read on the way are added to `passed`, also
/// when a name is missing: they prove it.
pub(super) fn resolve(
    root: Cid,
    segments: &[String],
    blocks: &dyn BlockGetter,
    passed: &mut Vec<Cid>,
) -> Result<Resolution, ReadError> {
    let mut roots = vec![root];
    let mut cid = root;
    let mut at = 0;
    while at < segments.len() {
        match cid.codec() {
            DAG_PB => {
                let get = |cid: &Cid| {
                    passed.push(*cid);
                    blocks.get(cid)
                };
                let mut resolver = Resolver::new(cid, vec![segments[at].clone()]).drive(get);
                let absent = || WalkError::NotFound { cid, name: segments[at].as_str().into() };
                cid = resolver.next().ok_or_else(absent)??.cid;
                roots.push(cid);
                at += 1;
            }
            DAG_CBOR | DAG_JSON => {
                passed.push(cid);
                let block = blocks.get(&cid)?;
                match codec::follow(&cid, &block, &segments[at..])? {
                    Followed::Link { cid: link, used } => {
                        roots.extend(std::iter::repeat_n(cid, used - 1));
                        roots.push(link);
                        cid = link;
                        at += used;
                    }
                    Followed::Value => {
                        roots.extend(std::iter::repeat_n(cid, segments.len() - at));
                        // The document itself is what is asked for, not passed through.
                        passed.pop();
                        return Ok(Resolution { roots, remainder: segments[at..].to_vec() });
                    }
                }
            }
            _ => return Err(WalkError::NotADirectory { cid }.into()),
        }
    }
    Ok(Resolution { roots, remainder: Vec::new() })
}
