//! What comes back.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Response;
use serde::Deserialize;

use super::RpcError;

/// Largest value that is held in memory: the list of a folder with some millions of entries.
const VALUE_BYTES_MAX: usize = 1 << 30;
/// An error's text is a few lines; more is cut.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// The status of a command that is not there.
const UNKNOWN: u16 = 404;
/// The trailer that tells of a failure after part of the answer was sent.
const FAILED: &str = "x-stream-error";

/// An answer whose handler has begun well.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
}

/// An error as the RPC sends it, and as what guards it does.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    #[serde(alias = "message")]
    message: String,
}

impl Answer {
    /// Takes a response.
    ///
    /// # Errors
    /// [`RpcError::Refused`] with what the handler said.
    pub(super) async fn new(response: Response<Body>) -> anyhow::Result<Self> {
        let status = response.status();
        if status.is_success() {
            return Ok(Self { body: response.into_body() });
        }
        let text = match Limited::new(response.into_body(), ERROR_BYTES_MAX).collect().await {
            Ok(text) => text.to_bytes(),
            Err(source) => return Err(RpcError::Cut(source).into()),
        };
        if status.as_u16() == UNKNOWN {
            return Err(RpcError::Unknown.into());
        }
        let message = match serde_json::from_slice::<Refusal>(&text) {
            Ok(refusal) => refusal.message,
            Err(_) if text.is_empty() => format!("the API answered {status}"),
            Err(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        };
        Err(RpcError::Refused { message, status: status.as_u16() }.into())
    }

    /// Hands over the bytes as they come.
    pub(super) async fn bytes(
        mut self,
        take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while let Some(part) = self.next().await? {
            take(&part)?;
        }
        Ok(())
    }

    /// Hands over each JSON value, one a line, as the text it came in; the last line may lack its end. Says
    /// `pause` when what has come so far is handed over and more is waited for.
    pub(super) async fn texts(
        mut self,
        take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>,
        pause: &mut impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // The line that has begun and has no end yet.
        let mut begun = Vec::new();
        while let Some(part) = self.next().await? {
            let mut rest = part.as_ref();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at(end);
                rest = after.get(1..).unwrap_or_default();
                if begun.is_empty() {
                    take_value(line, take)?;
                } else {
                    begun.extend_from_slice(line);
                    take_value(&begun, take)?;
                    begun.clear();
                }
            }
            if begun.len() + rest.len() > VALUE_BYTES_MAX {
                return Err(RpcError::TooLong(VALUE_BYTES_MAX).into());
            }
            begun.extend_from_slice(rest);
            pause()?;
        }
        take_value(&begun, take)?;
        pause()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RpcError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| RpcError::Cut(error.into()))?;
            match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    if let Some(message) = trailers.get(FAILED) {
                        let message = String::from_utf8_lossy(message.as_bytes()).trim().to_owned();
                        return Err(RpcError::BrokeOff { message });
                    }
                }
            }
        }
        Ok(None)
    }
}

fn take_value(line: &[u8], take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if line.iter().all(u8::is_ascii_whitespace) { Ok(()) } else { take(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(parts: &[&'static str], failed: Option<&str>) -> (Vec<String>, Option<String>) {
        let frames: Vec<Result<_, std::convert::Infallible>> = parts
            .iter()
            .map(|part| Ok(hyper::body::Frame::data(Bytes::from_static(part.as_bytes()))))
            .chain(failed.map(|message| {
                let mut trailers = hyper::HeaderMap::new();
                trailers.insert(FAILED, message.parse().unwrap());
                Ok(hyper::body::Frame::trailers(trailers))
            }))
            .collect();
        let body = Body::new(http_body_util::StreamBody::new(futures::stream::iter(frames)));
        let mut texts = Vec::new();
        let mut take = |text: &[u8]| {
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            Ok(())
        };
        let done = futures::executor::block_on(async {
            Answer::new(Response::new(body)).await?.texts(&mut take, &mut || Ok(())).await
        });
        (texts, done.err().map(|error| error.to_string()))
    }

    #[test]
    fn values_are_split_at_lines_wherever_the_parts_are_cut() {
        let check = |parts: &[&'static str], expected: &[&str]| {
            assert_eq!(answer(parts, None), (expected.iter().map(ToString::to_string).collect(), None));
        };
        check(&["{\"a\":1}\n{\"a\":2}\n"], &["{\"a\":1}", "{\"a\":2}"]);
        check(&["{\"a\"", ":1}\n{\"a\":2", "}", "\n\n"], &["{\"a\":1}", "{\"a\":2}"]);
        check(&["{}"], &["{}"]);
        check(&[], &[]);
    }

    #[test]
    fn a_late_failure_is_an_error() {
        let (texts, error) = answer(&["{}\n"], Some("block was lost"));
        assert_eq!((texts.len(), error.as_deref()), (1, Some("block was lost")));
    }

    #[test]
    fn refusals_are_in_the_words_of_the_handler() {
        let check = |status: u16, body: &'static str, expected: &str| {
            let response = Response::builder().status(status).body(Body::from(body)).unwrap();
            let error = futures::executor::block_on(Answer::new(response)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(500, "{\"Message\":\"no\",\"Code\":0,\"Type\":\"error\"}", "no");
        check(400, "argument \"key\" is required\n", "argument \"key\" is required");
        check(403, "{\"code\":\"forbidden\",\"message\":\"no token\"}", "no token");
        check(404, "404 page not found\n", &RpcError::Unknown.to_string());
        check(403, "", "the API answered 403 Forbidden");
    }
}
