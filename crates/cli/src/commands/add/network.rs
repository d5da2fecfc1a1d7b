//! Storing on the network what was added: quote, ask, store.

use std::io::{self, IsTerminal, Write};

use hpips_api::{ApiClient, view};
use hpips_types::TokenAmount;

use super::{Add, LONG};
use crate::context::Context;
use crate::exit::{Exit, Stop, classify};
use crate::output::{chain_text, message};

/// What a person agreed to before the price was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Consent {
    yes: bool,
    price_max: Option<TokenAmount>,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Store,
    Ask,
    /// Dearer than the person's limit, whatever else was said.
    TooDear(TokenAmount),
}

impl Consent {
    fn decide(self, price: TokenAmount) -> Decision {
        match self.price_max {
            Some(limit) if price > limit => Decision::TooDear(limit),
            Some(_) => Decision::Store,
            None if self.yes => Decision::Store,
            None => Decision::Ask,
        }
    }
}

impl Add {
    /// Quotes, asks, and stores what is on this machine already, one root after the other. A root that is not stored
    /// holds up none of the others.
    pub(super) fn store_all(
        &self,
        context: &Context,
        node: &ApiClient,
        roots: &[String],
    ) -> anyhow::Result<Exit> {
        let mut refused = Vec::new();
        for root in roots {
            // Whatever went wrong, the person must know that the files are here.
            let stored = self.try_store(context, node, root);
            refused.extend(
                stored
                    .err()
                    .map(|error| error.context(format!("not stored on the network, kept locally as {root}"))),
            );
        }
        if roots.len() == 1 {
            return refused.pop().map_or(Ok(Exit::Done), Err);
        }
        for error in &refused {
            message(format_args!("hpips: {}", chain_text(error)));
        }
        Ok(together(roots.len(), &refused.iter().map(classify).collect::<Vec<_>>()))
    }

    fn try_store(&self, context: &Context, node: &ApiClient, root: &str) -> anyhow::Result<()> {
        let ask = view::QuoteRequest { root: root.to_owned(), windows: self.windows };
        let quote: view::QuoteAnswer = context.ask(node.post("/hpips/v0/quote", &ask, LONG))?;
        message(format_args!(
            "keeps         {} slots, any {} restore; {} stored ({:.2} x)\nprice         at most {} HPIPS for {} windows, fees about {}; what is not proven comes back to you",
            quote.slots,
            quote.needed,
            hpips_types::ByteCount::new(quote.stored_bytes).to_short(),
            quote.expansion,
            quote.price_max.to_exact(),
            quote.windows,
            quote.fees.to_exact(),
        ));
        let price = TokenAmount::new(quote.price_max.get().saturating_add(quote.fees.get()));
        let refusal = match (Consent { yes: self.yes, price_max: self.max_price }).decide(price) {
            Decision::Store => None,
            Decision::Ask if io::stdin().is_terminal() && ask_person()? => None,
            Decision::Ask => {
                Some("nobody agreed to it; nothing was spent. To store it: --yes or --max-price".into())
            }
            Decision::TooDear(limit) => Some(format!(
                "it costs up to {} HPIPS with fees, --max-price allows {}; nothing was spent",
                price.to_exact(),
                limit.to_exact()
            )),
        };
        if let Some(text) = refusal {
            return Err(Stop::new(Exit::Funds, text).into());
        }
        let request =
            view::StoreRequest { root: root.to_owned(), windows: self.windows, price_max: quote.price_max };
        let stored: view::StoreAnswer = context.ask(node.post("/hpips/v0/store", &request, LONG))?;
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

/// The exit code of several roots: that of the refusals where all were refused alike.
fn together(roots: usize, refused: &[Exit]) -> Exit {
    match refused {
        [] => Exit::Done,
        refused if refused.len() < roots => Exit::Partly,
        [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Failed,
    }
}

fn ask_person() -> io::Result<bool> {
    write!(io::stderr().lock(), "Store? ANYONE with the CID can read it [y, N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_bounds_the_price_whatever_else_is_said() {
        let coins = TokenAmount::from_coins;
        for (yes, limit, price, decision) in [
            (false, None, 1, Decision::Ask),
            (true, None, 1_000, Decision::Store),
            (false, Some(5), 5, Decision::Store),
            (true, Some(5), 5, Decision::Store),
            (false, Some(5), 6, Decision::TooDear(coins(5))),
            (true, Some(5), 6, Decision::TooDear(coins(5))),
        ] {
            let consent = Consent { yes, price_max: limit.map(coins) };
            assert_eq!(consent.decide(coins(price)), decision, "{consent:?} {price}");
        }
    }

    #[test]
    fn several_roots_have_one_exit_code() {
        assert_eq!(together(2, &[]), Exit::Done);
        assert_eq!(together(2, &[Exit::Funds]), Exit::Partly);
        assert_eq!(together(2, &[Exit::Funds, Exit::Funds]), Exit::Funds);
        assert_eq!(together(2, &[Exit::Funds, Exit::Failed]), Exit::Failed);
    }
}
