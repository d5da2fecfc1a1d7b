//! `config/*`: a person's settings.

use axum::extract;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::answer;
use super::call::Call;
use super::error::RpcError;
use super::state::{SettingsError, State};

/// A configuration is a page of text.
const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Under this stands what Kubo does not have.
const OWN: &str = "Hpips";

impl From<SettingsError> for RpcError {
    fn from(error: SettingsError) -> Self {
        Self::of(&error)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    value: Value,
}

pub(super) async fn entry(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(2)?;
    let key = call.arg(0, "key")?.to_owned();
    // Among them are who may call and what is asked for storing.
    if call.args().len() > 1 && (key == OWN || key.starts_with("Hpips.")) {
        call.require_owner(&format!("setting {key}"))?;
    }
    let is_bool = call.flag(&["bool"], false)?;
    let is_json = call.flag(&["json"], false)?;
    let value = match call.args().get(1) {
        None => None,
        Some(text) if is_bool => Some(Value::Bool(match text.as_str() {
            "true" => true,
            "false" => false,
            other => {
                return Err(RpcError::new(format!(
                    "{key} was not changed: {other:?} is neither true nor false"
                )));
            }
        })),
        Some(text) if is_json => {
            let parsed = serde_json::from_str(text);
            Some(parsed.map_err(|error| {
                RpcError::new(format!("{key} was not changed: failed to unmarshal json. {error}"))
            })?)
        }
        Some(text) => Some(Value::String(text.clone())),
    };
    answer::value(&call, move || {
        let settings = &state.parts().settings;
        if let Some(value) = value {
            settings.set(&key, value)?;
        }
        let value = settings.get(&key)?;
        Ok(Entry { key, value })
    })
    .await
}

pub(super) async fn show(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(0)?;
    answer::value(&call, move || Ok(state.parts().settings.show()?)).await
}

pub(super) async fn replace(
    extract::State(state): extract::State<State>,
    mut call: Call,
) -> Result<Response, RpcError> {
    call.require_owner("replacing the configuration")?;
    let mut parts = call.multipart("file")?;
    answer::blocking(&call, move || {
        parts.next_part()?.ok_or_else(|| RpcError::client("file argument 'file' is required"))?;
        let all = serde_json::from_slice(&parts.whole(CONFIG_BYTES_MAX)?).map_err(|error| {
            RpcError::new(format!("failed to decode file as config: {error}; nothing was changed"))
        })?;
        Ok(state.parts().settings.replace(all)?)
    })
    .await?;
    Ok(answer::nothing())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Applied {
    old_cfg: Value,
    new_cfg: Value,
}

pub(super) async fn apply(
    extract::State(state): extract::State<State>,
    call: Call,
) -> Result<Response, RpcError> {
    call.at_most(1)?;
    let name = call.arg(0, "profile")?.to_owned();
    let dry_run = call.flag(&["dry-run"], false)?;
    if !dry_run {
        call.require_owner("applying a profile")?;
    }
    answer::value(&call, move || {
        let (old_cfg, new_cfg) = state.parts().settings.apply_profile(&name, dry_run)?;
        Ok(Applied { old_cfg, new_cfg })
    })
    .await
}
