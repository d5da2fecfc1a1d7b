//! What reads requests of the service, as functions of bytes.

use hpips_ipns::Moment;

use super::filter::Filter;
use super::object::Pin;

/// A query in the first line, a body in the rest.
pub fn request(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let filter = std::str::from_utf8(query).ok().and_then(|query| Filter::parse(query).ok());
    let Ok((pin, root)) = Pin::parse(body) else { return };
    // It is written to a file and read from there again.
    let written = serde_json::to_vec(&pin).expect("plain JSON");
    assert_eq!(Pin::parse(&written), Ok((pin.clone(), root)));
    if let Some(filter) = filter {
        let _ = filter.takes(&pin, &root, Moment::from_unix_seconds(0));
    }
}
