//! `cat`, `get`, `ls`: files and directories read.

use axum::extract;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use cid::Cid;
use hpips_client::walk;
use hpips_client::{BlockGetter, GzipLevel, Packing, pack};
use hpips_dag::{DirectoryReader, FileReader, Kind, inspect};
use serde::Serialize;

use super::answer::{self, Form};
use super::base::CidForm;
use super::call::Call;
use super::error::RpcError;
use super::resolve::{Place, locate};
use super::state::State;

async fn places(state: &State, call: &Call, args: &[String]) -> Result<Vec<Place>, RpcError> {
    let mut places = Vec::new();
    for text in args {
        places.push(locate(state, call, text).await?);
    }
    Ok(places)
}

pub(super) async fn cat(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let offset = call.position(&["offset", "o"])?.unwrap_or(0);
    let length = call.position(&["length", "l"])?;
    let places = places(&state, &call, call.some_args("ipfs-path")?).await?;
    // Sizes come first, so that the answer can say how long it is and nothing begins that cannot end.
    let (files, total) = answer::blocking(&call, move || {
        let mut files = Vec::new();
        let mut total = 0u64;
        for place in places {
            let cid = place.whole()?;
            let (bytes, target) = file_bytes(&cid, &*place.blocks)?;
            total = total.saturating_add(bytes);
            files.push((place.blocks, cid, bytes, target));
        }
        Ok((files, total))
    })
    .await?;
    let wanted = total.saturating_sub(offset).min(length.unwrap_or(u64::MAX));
    let mut response = answer::stream(&call, Form::Raw, move |sink| {
        let (mut skip, mut left) = (offset, wanted);
        for (blocks, cid, bytes, target) in files {
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            let take = left.min(bytes - skip);
            if take == 0 {
                break;
            }
            if let Some(target) = target {
                let from = usize::try_from(skip).unwrap_or(usize::MAX).min(target.len());
                let to = usize::try_from(skip + take).unwrap_or(usize::MAX).min(target.len());
                sink.bytes(bytes::Bytes::copy_from_slice(&target.as_bytes()[from..to]))?;
            } else {
                let reader = FileReader::new(cid, skip..skip + take);
                walk::<_, RpcError>(reader, &sink.guard(&*blocks), |part| sink.bytes(part))?;
            }
            left -= take;
            skip = 0;
        }
        Ok(())
    })
    .await?;
    let name = HeaderName::from_static("x-content-length");
    response.headers_mut().insert(name, HeaderValue::from(wanted));
    Ok(response)
}

/// Length of a file, or of a symbolic link's target, which comes along. A directory is refused in Kubo's words.
fn file_bytes(cid: &Cid, blocks: &dyn BlockGetter) -> Result<(u64, Option<String>), RpcError> {
    let info = inspect(cid, &blocks.get(cid)?)?;
    match info.kind {
        Kind::File => Ok((info.file_bytes, None)),
        Kind::Directory => Err(RpcError::new("this dag node is a directory")),
        Kind::Symlink => {
            let target = info.target.unwrap_or_default();
            Ok((u64::try_from(target.len()).unwrap_or(u64::MAX), Some(target)))
        }
        Kind::Other => Err(RpcError::new(format!("{cid} is no file of UnixFS"))),
    }
}

pub(super) async fn get(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let archive = call.flag(&["archive", "a"], false)?;
    let compress = call.flag(&["compress", "C"], false)?;
    let level = call.number::<i64>(&["compression-level", "l"])?.unwrap_or(-1);
    if !(-1..=9).contains(&level) {
        return Err(RpcError::new("compression level must be between 1 and 9"));
    }
    let level = u8::try_from(level).ok().and_then(GzipLevel::new).unwrap_or_default();
    let (packing, form) = match (compress, archive) {
        (false, _) => (Packing::Tar, Form::Tar),
        (true, true) => (Packing::GzipTar(level), Form::Gzip),
        (true, false) => (Packing::Gzip(level), Form::Gzip),
    };
    let place = locate(&state, &call, call.arg(0, "ipfs-path")?).await?;
    answer::stream(&call, form, move |sink| {
        let cid = place.whole()?;
        let name = place.path.segments.last().cloned().unwrap_or_else(|| place.path.root.to_string());
        pack(cid, &name, &sink.guard(&*place.blocks), packing, &mut |part| sink.bytes(part))
    })
    .await
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listings {
    objects: Vec<Object>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    hash: String,
    links: Vec<Link>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Link {
    name: String,
    hash: String,
    size: u64,
    /// Kubo's numbers: 1 directory, 2 file, 4 symlink; 0 where it was not looked.
    r#type: i32,
    target: String,
    /// Permission bits; 0 where none are written.
    mode: u32,
    /// In Go's words the year 1 stands for none.
    mod_time: String,
}

/// What of the entries' own blocks is looked at.
#[derive(Clone, Copy)]
struct Look {
    resolve_type: bool,
    size: bool,
    form: CidForm,
}

impl Look {
    fn link(&self, name: String, cid: &Cid, blocks: &dyn BlockGetter) -> Result<Link, RpcError> {
        let mut link = Link {
            name,
            hash: self.form.text(cid),
            size: 0,
            r#type: 0,
            target: String::new(),
            mode: 0,
            mod_time: moment(None),
        };
        if !self.resolve_type && !self.size {
            return Ok(link);
        }
        let info = inspect(cid, &blocks.get(cid)?)?;
        link.r#type = match info.kind {
            Kind::Directory => 1,
            Kind::File => 2,
            Kind::Symlink => 4,
            Kind::Other => 0,
        };
        link.target = info.target.unwrap_or_default();
        let target_bytes = u64::try_from(link.target.len()).unwrap_or(u64::MAX);
        link.size = if info.kind == Kind::Symlink { target_bytes } else { info.file_bytes };
        link.mode = info.mode.unwrap_or(0);
        link.mod_time = moment(info.mtime);
        Ok(link)
    }
}

pub(super) async fn list(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    let look = Look {
        resolve_type: call.flag(&["resolve-type"], true)?,
        size: call.flag(&["size"], true)?,
        form: call.cid_form()?,
    };
    let stream = call.flag(&["stream", "s"], false)?;
    let places = places(&state, &call, call.some_args("ipfs-path")?).await?;
    answer::stream(&call, Form::Json, move |sink| {
        let mut objects = Vec::new();
        for place in &places {
            let blocks = sink.guard(&*place.blocks);
            let cid = place.whole()?;
            let mut links = Vec::new();
            entries(&cid, &look, &blocks, &mut |link| {
                if stream {
                    return sink.json(&Listings {
                        objects: vec![Object { hash: place.path.text.clone(), links: vec![link] }],
                    });
                }
                links.push(link);
                Ok(())
            })?;
            objects.push(Object { hash: place.path.text.clone(), links });
        }
        if stream { Ok(()) } else { sink.json(&Listings { objects }) }
    })
    .await
}

/// A time as Go's JSON has it (RFC 3339).
fn moment(mtime: Option<hpips_dag::Mtime>) -> String {
    let Some(mtime) = mtime else { return "0001-01-01T00:00:00Z".to_owned() };
    let (days, second) = (mtime.seconds.div_euclid(86_400), mtime.seconds.rem_euclid(86_400));
    // Days of the Gregorian calendar, counted in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let fraction = match mtime.nanoseconds {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}{fraction}Z", second % 60)
}

/// The entries of a directory in order, or the unnamed links of a file.
fn entries(
    cid: &Cid,
    look: &Look,
    blocks: &dyn BlockGetter,
    take: &mut dyn FnMut(Link) -> Result<(), RpcError>,
) -> Result<(), RpcError> {
    let block = blocks.get(cid)?;
    match inspect(cid, &block)?.kind {
        Kind::Directory => walk::<_, RpcError>(DirectoryReader::new(*cid), blocks, |entry| {
            take(look.link(entry.name, &entry.cid, blocks)?)
        }),
        // A file is listed by its parts, as Kubo does.
        Kind::File if cid.codec() == hpips_types::content::DAG_PB => {
            for link in hpips_dag::decode_pb(&block)?.links {
                take(look.link(link.name, &link.cid, blocks)?)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_go() {
        let at = |seconds, nanoseconds| moment(Some(hpips_dag::Mtime { seconds, nanoseconds }));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_827_696, 0), "2000-02-29T12:34:56Z");
        assert_eq!(at(-1, 500_000_000), "1969-12-31T23:59:59.5Z");
        assert_eq!(moment(None), "0001-01-01T00:00:00Z");
        assert!(!at(i64::MAX / 4, 0).is_empty());
    }
}
