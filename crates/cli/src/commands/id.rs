//! `hpips id`.

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::exit::Exit;
use crate::rpc::Call;

/// Show this node's names and addresses.
#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// Another node to show.
    peer: Option<String>,
    /// How to print: <id> <aver> <addrs> <pubkey> <protocols>, with \n and \t.
    #[arg(short, long)]
    format: Option<String>,
    /// How to print the name: b58mh, base36 or another multibase.
    #[arg(long, value_name = "BASE")]
    peerid_base: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    public_key: String,
    addresses: Option<Vec<String>>,
    #[serde(default)]
    agent_version: String,
    protocols: Option<Vec<String>>,
    /// The account of the node in networks of this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

impl Id {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let call = Call::new("id").args(self.peer).maybe("peerid-base", &self.peerid_base);
        context.show(call, |identity: Identity, out| {
            if let Some(format) = &self.format {
                return Ok(write!(out, "{}", identity.format(format))?);
            }
            let mut text = Vec::new();
            let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
            identity.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
            out.write_all(&text)?;
            // An empty line ends it, as in Kubo.
            Ok(out.write_all(b"\n\n")?)
        })
    }
}

impl Identity {
    fn format(&self, format: &str) -> String {
        let lines = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join("\n");
        [
            ("<id>", self.id.clone()),
            ("<aver>", self.agent_version.clone()),
            ("<addrs>", lines(&self.addresses)),
            ("<pubkey>", self.public_key.clone()),
            ("<protocols>", lines(&self.protocols)),
            ("\\n", "\n".to_owned()),
            ("\\t", "\t".to_owned()),
        ]
        .iter()
        .fold(format.to_owned(), |text, (token, value)| text.replace(token, value))
    }
}
