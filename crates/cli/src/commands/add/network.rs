//! Storing on the network what was added: quote, ask, store.

use std::io::{self, IsTerminal, Write};

use hpips_api::{ApiClient, view};

use super::{Add, LONG};
use crate::context::Context;
use crate::exit::{Exit, Stop};
use crate::output::message;

impl Add {
    /// Quotes, asks, and stores what is on this machine already.
    pub(super) fn store(&self, context: &Context, node: &ApiClient, root: &str) -> anyhow::Result<()> {
        let stored = self.try_store(context, node, root);
        // Whatever went wrong, the person must know that the files are here.
        stored.map_err(|error| error.context(format!("not stored on the network, kept locally as {root}")))
    }

    fn try_store(&self, context: &Context, node: &ApiClient, root: &str) -> anyhow::Result<()> {
        let ask = view::QuoteRequest { root: root.to_owned(), windows: self.windows };
        let quote: view::QuoteAnswer =
            context.block_on(async { Ok(node.post("/hpips/v0/quote", &ask, LONG).await?) })?;
        message(format_args!(
            "keeps         {} slots, any {} restore; {} stored ({:.2} x)\nprice         at most {} HPIPS for {} windows; what is not proven comes back to you",
            quote.slots,
            quote.needed,
            hpips_types::ByteCount::new(quote.stored_bytes).to_short(),
            quote.expansion,
            quote.price_max.to_exact(),
            quote.windows,
        ));
        let agreed = self.yes
            || match self.max_price {
                Some(most) => quote.price_max <= most,
                None => io::stdin().is_terminal() && ask_person()?,
            };
        if !agreed {
            let text =
                format!("kept locally as {root}; nothing was spent. To store it: --yes or --max-price");
            return Err(Stop::new(Exit::Funds, text).into());
        }
        let request =
            view::StoreRequest { root: root.to_owned(), windows: self.windows, price_max: quote.price_max };
        let stored: view::StoreAnswer =
            context.block_on(async { Ok(node.post("/hpips/v0/store", &request, LONG).await?) })?;
        let deals: Vec<String> = stored.deals.iter().map(ToString::to_string).collect();
        message(format_args!(
            "stored: deal {}, {} of {} slots, every commitment checked, until block {}",
            deals.join(", "),
            stored.held,
            stored.slots,
            stored.ends
        ));
        Ok(())
    }
}

fn ask_person() -> io::Result<bool> {
    write!(io::stderr().lock(), "Store? ANYONE with the CID can read it [y, N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
