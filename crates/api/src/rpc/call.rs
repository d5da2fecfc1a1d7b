//! One request: arguments, options, body.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use hpips_client::BlockGetter;
use hpips_client::blocks::{Attended, Left};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::base::CidForm;
use super::error::RpcError;
use super::multipart::Multipart;
use crate::server::Owner;

/// Arguments and options in one request at most.
const PAIRS_MAX: usize = 100_000;
/// Commands that work at once: each holds a thread, for a minute where it waits for a block that nobody has.
const SLOTS: usize = 128;
/// Bytes of arguments in a body at most.
const LINES_BYTES_MAX: usize = 32 << 20;
/// Commands whose body is content and never arguments.
const UPLOADS: &[&str] = &[
    "add",
    "block/put",
    "config/replace",
    "dag/import",
    "dag/put",
    "files/write",
    "key/import",
    "name/inspect",
    "name/put",
    "routing/put",
];

/// A request, taken apart.
pub(crate) struct Call {
    args: Vec<String>,
    options: Vec<(String, String)>,
    content_type: Option<String>,
    /// Locked by nobody: only so that a request may be shared between threads.
    body: Mutex<Body>,
    /// Whether the caller reads what comes after the body.
    pub(super) takes_trailers: bool,
    /// Whether the caller showed that it may read the repo.
    is_owner: bool,
    /// Tells the thread that works that its caller has left.
    pub(super) left: Left,
    slots: Option<Slots>,
}

/// How many commands may hold a thread at once.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SLOTS)))
    }
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = RpcError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, RpcError> {
        let (parts, body) = request.into_parts();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let mut call = Self::of(parts.uri.query().unwrap_or_default(), text(header::CONTENT_TYPE))?;
        call.body = Mutex::new(body);
        let is_in_process = parts.extensions.get::<InProcess>().is_some();
        call.takes_trailers =
            text(header::TE).is_some_and(|value| value.contains("trailers")) || is_in_process;
        call.is_owner = is_in_process || parts.extensions.get::<Owner>().is_some();
        call.slots = parts.extensions.get::<Slots>().cloned();
        let command = parts.uri.path().trim_start_matches(super::PREFIX).trim_start_matches('/');
        if call.args.is_empty() && !UPLOADS.contains(&command) {
            call.take_lines().await?;
        }
        Ok(call)
    }
}

/// Marks requests that never were on a wire: what follows their answer's body arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InProcess;

impl Call {
    /// A request with this query and no content.
    pub(super) fn of(query: &str, content_type: Option<&str>) -> Result<Self, RpcError> {
        let (mut args, mut options) = (Vec::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if args.len() + options.len() == PAIRS_MAX {
                return Err(RpcError::client(format!("more than {PAIRS_MAX} arguments in one request")));
            }
            if name == "arg" {
                args.push(value.into_owned());
            } else {
                options.push((name.into_owned(), value.into_owned()));
            }
        }
        let content_type = content_type.map(str::to_owned);
        Ok(Self {
            args,
            options,
            content_type,
            body: Mutex::new(Body::empty()),
            takes_trailers: false,
            is_owner: false,
            left: Left::default(),
            slots: None,
        })
    }

    /// Arguments may come as lines of the body's first part, as with Kubo.
    async fn take_lines(&mut self) -> Result<(), RpcError> {
        let Ok(mut parts) = self.multipart("") else { return Ok(()) };
        let lines = tokio::task::spawn_blocking(move || match parts.next_part()? {
            Some(_) => parts.whole(LINES_BYTES_MAX),
            None => Ok(bytes::Bytes::new()),
        });
        let lines = lines.await??;
        let text = std::str::from_utf8(&lines).map_err(|_| RpcError::client("arguments are not UTF-8"))?;
        self.args.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        if self.args.len() + self.options.len() > PAIRS_MAX {
            return Err(RpcError::client(format!("more than {PAIRS_MAX} arguments in one request")));
        }
        Ok(())
    }

    /// The right to hold a thread until it is dropped.
    pub(super) fn slot(&self) -> Result<Option<OwnedSemaphorePermit>, RpcError> {
        let Some(Slots(slots)) = &self.slots else { return Ok(None) };
        Arc::clone(slots).try_acquire_owned().map(Some).map_err(|_| {
            RpcError::busy(format!("{SLOTS} commands are under way: try again when some of them are done"))
        })
    }

    /// These blocks, for as long as the caller waits.
    pub(crate) fn attended(&self, blocks: Arc<dyn BlockGetter>) -> Arc<dyn BlockGetter> {
        Arc::new(Attended::new(blocks, self.left.clone()))
    }

    /// All arguments.
    pub(crate) fn args(&self) -> &[String] {
        &self.args
    }

    /// All arguments, at least one; `name` is what Kubo calls it.
    pub(crate) fn some_args(&self, name: &str) -> Result<&[String], RpcError> {
        if self.args.is_empty() { Err(missing(name)) } else { Ok(&self.args) }
    }

    /// The argument at a position.
    pub(crate) fn arg(&self, index: usize, name: &str) -> Result<&str, RpcError> {
        self.args.get(index).map(String::as_str).ok_or_else(|| missing(name))
    }

    /// Refuses more arguments than the command has.
    pub(crate) fn at_most(&self, count: usize) -> Result<(), RpcError> {
        if self.args.len() <= count {
            return Ok(());
        }
        Err(RpcError::client(format!("expected at most {count} argument(s), got {}", self.args.len())))
    }

    /// Refuses callers that may be anybody on this machine; `what` is what they may not do.
    pub(crate) fn require_owner(&self, what: &str) -> Result<(), RpcError> {
        if self.is_owner { Ok(()) } else { Err(RpcError::not_owner(what)) }
    }

    /// The last value of an option under any of its names.
    pub(crate) fn option(&self, names: &[&str]) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(name, _)| names.contains(&name.as_str()))
            .map(|(_, value)| value.as_str())
    }

    /// A switch that may be absent.
    pub(crate) fn maybe_flag(&self, names: &[&str]) -> Result<Option<bool>, RpcError> {
        match self.option(names) {
            None => Ok(None),
            Some("" | "true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(unreadable(other, "bool", names)),
        }
    }

    /// A switch.
    pub(crate) fn flag(&self, names: &[&str], default: bool) -> Result<bool, RpcError> {
        Ok(self.maybe_flag(names)?.unwrap_or(default))
    }

    /// A number that may be absent.
    pub(crate) fn number<T: FromStr>(&self, names: &[&str]) -> Result<Option<T>, RpcError> {
        match self.option(names) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| unreadable(text, "int", names)),
        }
    }

    /// Bytes from the start: Kubo's numbers are signed, so that a wrong sign has words of its own.
    pub(crate) fn position(&self, names: &[&str]) -> Result<Option<u64>, RpcError> {
        match self.number::<i64>(names)? {
            None => Ok(None),
            Some(number) => u64::try_from(number)
                .map(Some)
                .map_err(|_| RpcError::new(format!("cannot specify negative {}", names[0]))),
        }
    }

    /// How CIDs are written in the answer.
    pub(crate) fn cid_form(&self) -> Result<CidForm, RpcError> {
        let upgrade = self.flag(&["upgrade-cidv0-in-output"], false)?;
        CidForm::new(self.option(&["cid-base"]), upgrade)
    }

    /// Whether nobody but the local store may be asked.
    pub(crate) fn is_offline(&self) -> Result<bool, RpcError> {
        self.flag(&["offline"], false)
    }

    /// How long the caller waits.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, RpcError> {
        self.option(&["timeout"])
            .map(|text| duration(text).ok_or_else(|| unreadable(text, "duration", &["timeout"])))
            .transpose()
    }

    /// The content sent along.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn multipart(&mut self, argument: &str) -> Result<Multipart, RpcError> {
        let wanted = || RpcError::client(format!("file argument '{argument}' is required"));
        let boundary = self.content_type.as_deref().and_then(boundary).ok_or_else(wanted)?;
        Ok(Multipart::new(
            std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner)),
            &boundary,
        ))
    }
}

fn missing(name: &str) -> RpcError {
    RpcError::client(format!("argument \"{name}\" is required"))
}

fn unreadable(text: &str, kind: &str, names: &[&str]) -> RpcError {
    let name = names.first().copied().unwrap_or_default();
    RpcError::client(format!("could not convert value {text:?} to type {kind:?} (for option \"-{name}\")"))
}

/// The boundary of a `multipart/*` content type (RFC 2046, 5.1.1).
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (1..=70).contains(&value.len()).then_some(value)
}

/// A duration as Go writes it: `1h30m`, `2.5s`, `300ms`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_found() {
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; charset=x; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("text/plain; boundary=abc", None),
        ] {
            assert_eq!(boundary(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn durations_of_go() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "5", "5d", "-1s", "1..2s", "99999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
