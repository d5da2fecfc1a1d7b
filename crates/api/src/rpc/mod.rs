//! Kubo's RPC, `/api/v0`: every command about content exists once, here.
//!
//! A node answers it over HTTP; the command line calls the same [`router`] in its own process when no node runs.
//! Arguments, options, JSON and errors are Kubo's (<https://docs.ipfs.tech/reference/kubo/rpc/>), so its clients work
//! unchanged. Only POST; arguments as repeated `arg=`, options in the query, content as `multipart/form-data`.
//!
//! A request goes through these modules in order:
//!
//! | module | does |
//! |---|---|
//! | `call` | takes query and body apart |
//! | `block`, `dag`, `pin`, ... | one module a group of commands: checks all arguments, then acts |
//! | `state` | what the commands act on: store, blocks, settings, keys |
//! | `answer` | carries the result from the working thread to the caller, and stops when the caller leaves |
//!
//! Work on blocks runs on threads that may block; what they produce goes through a bounded queue.

mod add;
mod answer;
mod base;
mod bitswap;
mod block;
mod call;
mod car;
mod cid;
mod config;
mod content;
mod dag;
mod error;
mod files;
pub(crate) mod fuzzing;
mod ipld;
mod key;
mod multipart;
mod name;
mod node;
mod path;
mod pin;
mod refs;
mod repo;
mod resolve;
mod routing;
mod state;
mod storing;
mod swarm;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};

pub use call::duration as parse_duration;
pub(crate) use pin::keep_all;
pub use state::{Identity, KeyError, Keys, NamedKey, Online, Parts, Settings, SettingsError, State};

/// Path of every command.
pub const PREFIX: &str = "/api/v0";

/// The commands that need a repo.
fn commands() -> Vec<(&'static str, MethodRouter<State>)> {
    vec![
        ("add", post(add::add)),
        ("bitswap/ledger", post(bitswap::ledger)),
        ("bitswap/stat", post(bitswap::stat)),
        ("bitswap/wantlist", post(bitswap::wantlist)),
        ("block/get", post(block::get)),
        ("block/put", post(block::put)),
        ("block/rm", post(block::remove)),
        ("block/stat", post(block::stat)),
        ("bootstrap", post(swarm::bootstrap_list)),
        ("bootstrap/add", post(swarm::bootstrap_add)),
        ("bootstrap/list", post(swarm::bootstrap_list)),
        ("bootstrap/rm", post(swarm::bootstrap_remove)),
        ("bootstrap/rm/all", post(swarm::bootstrap_remove_all)),
        ("cat", post(content::cat)),
        ("config", post(config::entry)),
        ("config/profile/apply", post(config::apply)),
        ("config/replace", post(config::replace)),
        ("config/show", post(config::show)),
        ("dag/export", post(dag::export)),
        ("dag/get", post(dag::get)),
        ("dag/import", post(dag::import)),
        ("dag/put", post(dag::put)),
        ("dag/resolve", post(dag::resolve)),
        ("dag/stat", post(dag::stat)),
        ("file/ls", post(content::list)),
        ("files/chcid", post(files::change_cid)),
        ("files/chmod", post(files::change_mode)),
        ("files/touch", post(files::touch)),
        ("files/cp", post(files::copy)),
        ("files/flush", post(files::flush)),
        ("files/ls", post(files::list)),
        ("files/mkdir", post(files::mkdir)),
        ("files/mv", post(files::rename)),
        ("files/read", post(files::read)),
        ("files/rm", post(files::remove)),
        ("files/stat", post(files::stat)),
        ("files/write", post(files::write)),
        ("filestore/dups", post(repo::filestore_duplicates)),
        ("filestore/ls", post(repo::filestore_list)),
        ("filestore/verify", post(repo::filestore_verify)),
        ("get", post(content::get)),
        ("id", post(node::id)),
        ("key/export", post(key::export)),
        ("key/gen", post(key::generate)),
        ("key/import", post(key::import)),
        ("key/list", post(key::list)),
        ("key/rename", post(key::rename)),
        ("key/rm", post(key::remove)),
        ("ls", post(content::list)),
        ("name/get", post(name::get)),
        ("name/publish", post(name::publish)),
        ("name/put", post(name::put)),
        ("name/resolve", post(name::resolve)),
        ("pin/add", post(pin::add)),
        ("pin/ls", post(pin::list)),
        ("pin/rm", post(pin::remove)),
        ("pin/update", post(pin::update)),
        ("pin/verify", post(pin::verify)),
        ("ping", post(swarm::ping)),
        ("refs", post(refs::refs)),
        ("refs/local", post(refs::local)),
        ("repo/gc", post(repo::collect)),
        ("repo/migrate", post(repo::migrate)),
        ("repo/stat", post(repo::stat)),
        ("repo/verify", post(repo::verify)),
        ("repo/version", post(repo::version)),
        ("resolve", post(resolve::resolve)),
        ("routing/findpeer", post(routing::find_peer)),
        ("routing/findprovs", post(routing::find_providers)),
        ("routing/get", post(routing::get)),
        ("routing/provide", post(routing::provide)),
        ("routing/put", post(routing::put)),
        ("shutdown", post(node::shutdown)),
        ("stats/bitswap", post(bitswap::stat)),
        ("stats/bw", post(swarm::bandwidth)),
        ("stats/repo", post(repo::stat)),
        ("swarm/addrs", post(swarm::addresses)),
        ("swarm/addrs/listen", post(swarm::listening)),
        ("swarm/addrs/local", post(swarm::listening)),
        ("swarm/connect", post(swarm::connect)),
        ("swarm/disconnect", post(swarm::disconnect)),
        ("swarm/filters", post(swarm::filters)),
        ("swarm/filters/add", post(swarm::filters_add)),
        ("swarm/filters/rm", post(swarm::filters_remove)),
        ("swarm/peers", post(swarm::peers)),
    ]
}

/// The commands that need none.
fn repoless_commands() -> Vec<(&'static str, MethodRouter<()>)> {
    vec![
        ("cid/base32", post(cid::base32)),
        ("cid/bases", post(cid::bases)),
        ("cid/codecs", post(cid::codecs)),
        ("cid/format", post(cid::format)),
        ("cid/hashes", post(cid::hashes)),
        ("cid/inspect", post(cid::inspect)),
        ("commands", post(node::commands)),
        ("name/inspect", post(name::inspect)),
        ("version", post(node::version)),
    ]
}

/// The root and the names below it of a path of content.
pub(crate) fn content_of(path: &str) -> Option<(::cid::Cid, Vec<String>)> {
    path::IpfsPath::parse(path).ok().map(|path| (path.root, path.segments))
}

/// All commands, as a router that takes every path below [`PREFIX`].
pub fn router(state: State) -> Router {
    let routes = commands()
        .into_iter()
        .fold(Router::new(), |routes, (name, command)| routes.route(&format!("/{name}"), command));
    finish(routes.with_state(state))
}

/// The commands that need no repo, to be called in this process; all others are answered with 404.
pub fn repoless_router() -> Router {
    in_process(finish(Router::new()))
}

/// A router whose answers never leave this process, so that failures after a body arrive too.
pub fn in_process(router: Router) -> Router {
    router.layer(axum::Extension(call::InProcess))
}

/// Names of all commands, sorted.
pub(crate) fn command_names() -> Vec<&'static str> {
    let mut names: Vec<_> = commands().into_iter().map(|(name, _)| name).collect();
    names.extend(repoless_commands().into_iter().map(|(name, _)| name));
    names.sort_unstable();
    names
}

fn finish(routes: Router) -> Router {
    let routes = repoless_commands()
        .into_iter()
        .fold(routes, |routes, (name, command)| routes.route(&format!("/{name}"), command))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(add_headers))
        .layer(axum::Extension(call::Slots::default()));
    Router::new().nest(PREFIX, routes)
}

/// What every answer of Kubo has.
async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(node::AGENT));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let names = HeaderValue::from_static("X-Stream-Output, X-Chunked-Output, X-Content-Length");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
    response
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "404 page not found\n")
        .into_response()
}

/// Reading goes by POST too: a page in a browser can make a GET without asking.
async fn wrong_method() -> Response {
    let headers = [(header::ALLOW, "POST"), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::METHOD_NOT_ALLOWED, headers, "405 - Method Not Allowed\n").into_response()
}
