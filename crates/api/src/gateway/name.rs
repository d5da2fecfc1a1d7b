//! The name at the beginning of a path below `/ipns`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::time::timeout;

use super::Gateway;
use super::answer::{ReadRequest, Target};
use super::conditional::is_unchanged;
use super::error::GatewayError;
use super::format::Format;
use super::headers::disposition;
use crate::names::{Ask, NamingError};
use crate::routing::{Reach, server};

/// Looks up the name of a request that has one, and puts what it stands for in its place. Answers by itself where the
/// name's record is asked for.
pub(super) async fn look_up(
    gateway: &Gateway,
    request: &mut ReadRequest,
) -> Result<Option<Response>, GatewayError> {
    let Some(name) = request.address.name else { return Ok(None) };
    let Some(names) = &gateway.names else {
        return Err(GatewayError::Names { name: request.address.root_text.clone() });
    };
    let path = request.address.to_string();
    let failed = |source: NamingError| GatewayError::Naming { path: path.clone(), source };
    let late = |_| GatewayError::Timeout { seconds: gateway.config.wait.as_secs() };
    let reach = (!request.is_only_if_cached).then_some(Reach::All);
    let ask = Ask { reach, may_remember: true };
    if request.wanted.as_ref().is_some_and(|wanted| wanted.format == Format::IpnsRecord) {
        if !request.address.segments.is_empty() {
            let reason = "an ipns-record is that of a name, without a path behind it";
            return Err(GatewayError::Parameter { name: "format", reason });
        }
        let record = timeout(gateway.config.wait, names.record(&name, ask)).await.map_err(late)?;
        let mut response = server::record_response(&record.map_err(failed)?);
        let file = request.query.get("filename").map_or_else(|| format!("{name}.ipns-record"), str::to_owned);
        if let Ok(value) = HeaderValue::from_str(&disposition("attachment", &file)) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
        let etag = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        if request.is_head {
            let bytes = axum::body::HttpBody::size_hint(response.body()).exact().unwrap_or_default();
            response.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
            *response.body_mut() = axum::body::Body::empty();
        }
        if is_unchanged(&request.headers, &etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = axum::body::Body::empty();
        }
        return Ok(Some(response));
    }
    let text = name.to_string();
    let resolving = names.resolve(&text, true, ask);
    let resolved = timeout(gateway.config.wait, resolving).await.map_err(late)?.map_err(failed)?;
    let content = crate::rpc::content_of(&resolved.path);
    let (root, segments) = content.ok_or(GatewayError::Path { reason: "the name points at no content" })?;
    request.address.root = root;
    request.target = Some(Target { segments, ttl: resolved.ttl });
    Ok(None)
}
