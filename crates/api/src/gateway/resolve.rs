//! A path below a root, followed.

use cid::Cid;
use hpips_client::BlockGetter;
use hpips_dag::{PathEnd, PathResolver, PathRules, Walk, WalkError};

use super::error::ReadError;

/// Follows names through directories and documents. Blocks that were read on the way are added to `passed`, also
/// when a name is missing: they prove it.
pub(super) fn resolve(
    root: Cid,
    segments: &[String],
    blocks: &dyn BlockGetter,
    passed: &mut Vec<Cid>,
) -> Result<PathEnd, ReadError> {
    let get = |cid: &Cid| {
        passed.push(*cid);
        blocks.get(cid)
    };
    let mut walk = PathResolver::new(root, segments.to_vec(), PathRules::Content).drive(get);
    let end = walk.next().ok_or(WalkError::NotADirectory { cid: root })??;
    if !end.remainder.is_empty() {
        // The document itself is what is asked for, not passed through.
        passed.pop();
    }
    Ok(end)
}
