//! One request.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use hyper::{Method, Request, header};
use tokio_util::io::ReaderStream;

use super::Common;
use crate::exit::{Exit, Stop};

/// How much of an upload is read at once.
const READ_BYTES: usize = 256 << 10;
/// Arguments that go into the query, bytes: more are sent as lines of the body, as servers take no query of any length.
const QUERY_ARGS_BYTES_MAX: usize = 16 << 10;
/// Separates the parts of an upload. Names cannot hold it, they are escaped; of content it is as unlikely as
/// any 128 bits.
const BOUNDARY: &str = "hpips-3c1f0e5b7a92464d8e0b6f3d9a714c58";

/// What is uploaded as one part.
#[derive(Debug)]
pub(crate) enum Upload {
    /// A file; it is opened when its turn comes.
    File(PathBuf),
    /// Standard input, to its end.
    Stdin,
    /// A folder; its entries are parts of their own.
    Folder,
    /// A symlink to this target.
    Link(PathBuf),
    /// Arguments, one a line.
    Lines(String),
}

/// One part of an upload.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its path, from the name of what is uploaded down.
    pub(crate) name: String,
    /// Its content.
    pub(crate) upload: Upload,
    /// Bits of `chmod`.
    pub(crate) mode: Option<u32>,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: Option<(i64, u32)>,
}

impl Part {
    /// A part without mode and time.
    pub(crate) fn new(name: impl Into<String>, upload: Upload) -> Self {
        Self { name: name.into(), upload, mode: None, mtime: None }
    }

    fn head(&self, boundary: &str) -> String {
        let content_type = match self.upload {
            Upload::File(_) | Upload::Stdin | Upload::Lines(_) => "application/octet-stream",
            Upload::Folder => "application/x-directory",
            Upload::Link(_) => "application/symlink",
        };
        let mut meta = Vec::new();
        if let Some(mode) = self.mode {
            meta.push(format!("mode={mode:04o}"));
        }
        if let Some((seconds, nanoseconds)) = self.mtime {
            meta.push(format!("mtime={seconds}&mtime-nsecs={nanoseconds}"));
        }
        let meta = if meta.is_empty() { String::new() } else { format!("?{}", meta.join("&")) };
        let mut head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file{meta}\"; filename=\"{}\"\r\n\
             Content-Type: {content_type}\r\n",
            hpips_api::escape(&self.name)
        );
        // Where the file lies, for those who refer to it and take no copy.
        if let Upload::File(path) = &self.upload
            && let Ok(path) = std::path::absolute(path)
        {
            head.push_str(&format!("Abspath: {}\r\n", hpips_api::escape(&path.to_string_lossy())));
        }
        head.push_str("\r\n");
        head
    }
}

impl Upload {
    /// What a person wrote where a file is meant: `-` is standard input.
    pub(crate) fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// The files a person wrote, or standard input when there are none.
    pub(crate) fn all(paths: &[PathBuf]) -> Vec<Self> {
        if paths.is_empty() { vec![Self::Stdin] } else { paths.iter().map(|path| Self::of(path)).collect() }
    }
}

/// One request: a command, its arguments and options, and what is uploaded.
#[derive(Debug)]
pub(crate) struct Call {
    command: &'static str,
    query: Vec<(&'static str, String)>,
    parts: Option<Vec<Part>>,
}

impl Call {
    /// A request of `command`, as `pin/add`.
    pub(crate) fn new(command: &'static str) -> Self {
        Self { command, query: Vec::new(), parts: None }
    }

    /// Adds an argument.
    pub(crate) fn arg(self, value: impl Into<String>) -> Self {
        self.option("arg", value)
    }

    /// Adds arguments.
    pub(crate) fn args<S: Into<String>>(self, values: impl IntoIterator<Item = S>) -> Self {
        values.into_iter().fold(self, Self::arg)
    }

    /// Sets an option.
    pub(crate) fn option(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Sets an option that may be absent.
    pub(crate) fn maybe(self, name: &'static str, value: &Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.option(name, value.to_string()),
            None => self,
        }
    }

    /// Sets an option when it is asked for.
    pub(crate) fn flag(self, name: &'static str, is_set: bool) -> Self {
        if is_set { self.option(name, "true") } else { self }
    }

    /// Uploads these, each named as its file.
    pub(crate) fn upload(self, uploads: Vec<Upload>) -> Self {
        let part = |upload| {
            let name = match &upload {
                Upload::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                _ => String::new(),
            };
            Part::new(name, upload)
        };
        self.parts(uploads.into_iter().map(part).collect())
    }

    /// Uploads these.
    pub(crate) fn parts(self, parts: Vec<Part>) -> Self {
        Self { parts: Some(parts), ..self }
    }

    /// The request of HTTP. Files are tried here, so that a missing one is known before anything is sent.
    pub(super) fn request(self, common: &Common) -> anyhow::Result<Request<Body>> {
        let mut query = self.query;
        if common.offline {
            query.push(("offline", "true".to_owned()));
        }
        if let Some(base) = &common.cid_base {
            query.push(("cid-base", base.clone()));
        }
        if common.upgrade_cid {
            query.push(("upgrade-cidv0-in-output", "true".to_owned()));
        }
        if let Some(timeout) = common.timeout {
            query.push(("timeout", format!("{}ms", timeout.as_millis())));
        }
        let mut parts = self.parts;
        let args_bytes: usize =
            query.iter().filter(|(name, _)| *name == "arg").map(|(_, text)| text.len()).sum();
        if parts.is_none() && args_bytes > QUERY_ARGS_BYTES_MAX {
            let (args, options) = query.into_iter().partition(|(name, _)| *name == "arg");
            let args: Vec<(&str, String)> = args;
            query = options;
            let lines = args.iter().map(|(_, text)| format!("{text}\n")).collect::<String>();
            parts = Some(vec![Part::new("", Upload::Lines(lines))]);
        }
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", hpips_api::escape(value))).collect();
        let uri = format!("/api/v0/{}?{}", self.command, query.join("&"));
        let request = Request::builder().method(Method::POST).uri(uri);
        let Some(parts) = parts else { return Ok(request.body(Body::empty())?) };
        parts.iter().try_for_each(check)?;
        let form = request.header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
        Ok(form.body(form_of(parts))?)
    }
}

/// Refuses a file that cannot be read.
fn check(part: &Part) -> anyhow::Result<()> {
    let Upload::File(path) = &part.upload else { return Ok(()) };
    let readable = std::fs::metadata(path).and_then(|meta| {
        if meta.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        Ok(rustix::fs::access(path, rustix::fs::Access::READ_OK)?)
    });
    readable.map_err(|error| {
        Stop::new(Exit::Failed, format!("cannot read {}: {error}. Nothing was changed", path.display()))
            .into()
    })
}

/// The parts as `multipart/form-data` (RFC 7578), read while they are sent.
fn form_of(parts: Vec<Part>) -> Body {
    let last = stream::once(async { Ok(Bytes::from(format!("--{BOUNDARY}--\r\n"))) });
    Body::from_stream(stream::iter(parts).flat_map(encode).chain(last))
}

fn encode(part: Part) -> BoxStream<'static, io::Result<Bytes>> {
    let head = Bytes::from(part.head(BOUNDARY));
    let head = stream::once(async { Ok(head) });
    let end = stream::once(async { Ok(Bytes::from_static(b"\r\n")) });
    match part.upload {
        Upload::File(path) => {
            let content = stream::once(async move {
                let mut file = tokio::fs::File::open(&path).await?;
                file.set_max_buf_size(READ_BYTES);
                io::Result::Ok(ReaderStream::with_capacity(file, READ_BYTES))
            });
            head.chain(content.try_flatten()).chain(end).boxed()
        }
        Upload::Stdin => {
            head.chain(ReaderStream::with_capacity(tokio::io::stdin(), READ_BYTES)).chain(end).boxed()
        }
        Upload::Folder => head.chain(end).boxed(),
        Upload::Lines(lines) => head.chain(stream::once(async { Ok(Bytes::from(lines)) })).chain(end).boxed(),
        Upload::Link(target) => {
            let target = Bytes::from(target.into_os_string().into_encoded_bytes());
            head.chain(stream::once(async { Ok(target) })).chain(end).boxed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_arguments_options_and_parts() {
        let call = Call::new("add").arg("a b").flag("pin", true).flag("no", false).maybe("n", &Some(3));
        let mut part = Part::new("d/l", Upload::Link("../x".into()));
        part.mode = Some(0o755);
        part.mtime = Some((-1, 5));
        let call = call.parts(vec![Part::new("d", Upload::Folder), part]);
        let common = Common { offline: true, cid_base: Some("base32".into()), ..Common::default() };
        let request = call.request(&common).unwrap();
        assert_eq!(request.uri(), "/api/v0/add?arg=a%20b&pin=true&n=3&offline=true&cid-base=base32");
        let body = futures::executor::block_on(http_body_util::BodyExt::collect(request.into_body()));
        let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
        let expected = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d\"\r\n\
             Content-Type: application/x-directory\r\n\r\n\r\n\
             --B\r\nContent-Disposition: form-data; name=\"file?mode=0755&mtime=-1&mtime-nsecs=5\"; \
             filename=\"d%2Fl\"\r\nContent-Type: application/symlink\r\n\r\n../x\r\n--B--\r\n";
        assert_eq!(text.replace(BOUNDARY, "B"), expected);
    }

    #[test]
    fn many_arguments_go_into_the_body() {
        let args = || (0..2000).map(|number| format!("/ipfs/{number}"));
        let request =
            Call::new("pin/add").flag("stream", true).args(args()).request(&Common::default()).unwrap();
        assert_eq!(request.uri(), "/api/v0/pin/add?stream=true");
        let body = futures::executor::block_on(http_body_util::BodyExt::collect(request.into_body()));
        let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
        assert!(
            text.contains("\r\n\r\n/ipfs/0\n/ipfs/1\n") && text.contains("/ipfs/1999\n\r\n--"),
            "{text:.300}"
        );
    }

    #[test]
    fn a_missing_file_is_known_before_anything_is_sent() {
        let call = Call::new("block/put").upload(vec![Upload::File("/nowhere/at/all".into())]);
        let error = call.request(&Common::default()).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
