//! Commands about coins and deals: `pledge`, `wallet`, `deals`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::anyhow;
use hpips_api::view::{
    AccountInfo, DealInfo, Done, Executed, PledgeInfo, PledgeRequest, ProviderWork, Proving, ProvingState,
    TransferRequest,
};
use hpips_api::{CallError, ErrorCode, escape};
use hpips_types::{ByteCount, TokenAmount};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{Exit, Stop, classify};
use crate::output::{Report, chain_text, emit, message};

/// How long a transaction may take to be in a block, or keys to be made: longer than the node waits, so that its
/// words come first.
const SLOW: Duration = Duration::from_secs(330);

/// Offer space and be paid for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Pledge {
    /// Space to seal and prove, as 100GB; or `status`.
    size: String,
    /// Space open for deals; by default as much as is sealed.
    #[arg(long, value_name = "SIZE")]
    open: Option<String>,
    /// What to ask, in HPIPS per GiB and 720 windows; by default Hpips.AskNano of the configuration.
    #[arg(long, value_name = "AMOUNT")]
    ask: Option<TokenAmount>,
    /// Most HPIPS that may be locked as collateral of what is stored here; by default all that are free.
    #[arg(long, value_name = "AMOUNT")]
    collateral: Option<TokenAmount>,
    /// Start without asking.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct ShownPledge(Option<PledgeInfo>);

impl Report for ShownPledge {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(pledge) = &self.0 else { return writeln!(out, "nothing pledged: hpips pledge SIZE") };
        let size = |bytes| ByteCount::new(bytes).to_short();
        let work = pledge.work.as_ref();
        writeln!(out, "sealed   {}", sealed(pledge.sealed_bytes, work))?;
        writeln!(out, "open     {}, {} used", size(pledge.open_bytes), size(pledge.used_bytes))?;
        write!(out, "proofs   {} of {} windows on time", pledge.windows_proven, pledge.windows_due)?;
        match work.and_then(|work| work.proof_ms) {
            Some(ms) => writeln!(out, "; last took {:.1} s", ms as f64 / 1000.0)?,
            None => writeln!(out)?,
        }
        let Some(work) = work else { return Ok(()) };
        if let Some(proving) = proving(&work.proving) {
            writeln!(out, "proving  {proving}")?;
        }
        match &work.trouble {
            Some(trouble) => writeln!(out, "trouble  {trouble}"),
            None => Ok(()),
        }
    }
}

/// `13 of 186 sectors, 6.98 GB proven, ETA 13 h 57 min`, or what is proven alone where nobody seals here.
fn sealed(proven: u64, work: Option<&ProviderWork>) -> String {
    let mut text = format!("{} proven", ByteCount::new(proven).to_short());
    let Some(work) = work.filter(|work| work.sectors_wanted > 0) else { return text };
    text = format!("{} of {} sectors, {text}", work.sectors, work.sectors_wanted);
    if let (sealed, all @ 1..) = work.sealing {
        text += &format!(", the next {} %", sealed * 100 / all);
    }
    if let Some(ms) = work.sealing_left_ms {
        text += &format!(", ETA {}", left(Duration::from_millis(ms)));
    }
    text
}

/// `window (computing), 2 more waiting`; `None` when there is nothing to prove.
fn proving(proofs: &[Proving]) -> Option<String> {
    let (first, others) = proofs.split_first()?;
    let state = match first.state {
        ProvingState::Waiting => "waiting",
        ProvingState::Loading => "reading keys",
        ProvingState::Computing => "computing",
        ProvingState::Checking => "checking",
    };
    let text = format!("{} ({state})", first.circuit);
    Some(if others.is_empty() { text } else { format!("{text}, {} more waiting", others.len()) })
}

/// `13 h 57 min`, as exact as an estimate is.
fn left(time: Duration) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{} s", seconds.max(1)),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

impl Pledge {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let node = context.node()?;
        if self.size == "status" {
            let pledge = context.ask(node.get("/hpips/v0/pledge"))?;
            return emit(&ShownPledge(pledge), context.json);
        }
        let sealed_bytes = parse_size(&self.size)?;
        let open_bytes = self.open.as_deref().map(parse_size).transpose()?.unwrap_or(sealed_bytes);
        let account: AccountInfo = context.ask(node.get("/hpips/v0/account"))?;
        let collateral_max = self.collateral.unwrap_or(account.balance);
        let size = |bytes| ByteCount::new(bytes).to_short();
        message(format_args!(
            "sealing    {} to seal and prove\nopen       {} for deals{}\ncollateral none now. What is stored here later locks coins of yours: {} HPIPS at most, of {} free",
            size(sealed_bytes),
            size(open_bytes),
            self.ask.map_or(String::new(), |ask| format!(
                ", at {} HPIPS per GiB and 720 windows",
                ask.to_exact()
            )),
            collateral_max.to_exact(),
            account.balance.to_exact(),
        ));
        if !self.yes && !agreed()? {
            let text = "not started, nothing was changed. To start without being asked: --yes";
            return Err(Stop::new(Exit::Funds, text).into());
        }
        let request =
            PledgeRequest { sealed_bytes, open_bytes, ask: self.ask, collateral_max: Some(collateral_max) };
        let _: Done = context.ask(node.post("/hpips/v0/pledge", &request, SLOW))?;
        message(
            "hpips: sealing begins. You may close this; it goes on while the node runs: hpips pledge status",
        );
        Ok(Exit::Done)
    }
}

/// Asks on a terminal; nobody else agrees by saying nothing.
fn agreed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr().lock(), "Start? [Y/n] ")?;
    let mut answer = String::new();
    // The end of the input is no answer.
    let bytes = io::stdin().read_line(&mut answer)?;
    Ok(bytes > 0 && matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

/// Bytes of `100GB`, `256 KiB` or a bare number.
fn parse_size(text: &str) -> anyhow::Result<u64> {
    let wrong = || Stop::usage(format!("{text:?} is no size: write for example 100GB or 256KiB"));
    let text_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(text_end);
    let scale: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong().into()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let mut bytes = whole.checked_mul(scale).ok_or_else(wrong)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 12).ok_or_else(wrong)?;
        let part: u64 = fraction.parse().map_err(|_| wrong())?;
        bytes = bytes
            .checked_add(hpips_types::amount::mul_div_floor(scale, part, 10u64.pow(digits)))
            .ok_or_else(wrong)?;
    }
    Ok(bytes)
}

/// Coins of this node's account.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Wallet {
    /// Show the balance.
    Balance {
        /// Of another account.
        address: Option<String>,
    },
    /// Send coins.
    Send {
        /// Address of who gets them.
        to: String,
        /// How many HPIPS.
        amount: TokenAmount,
        /// Send it once under this name, however often it is repeated while the node runs; by default a new one.
        #[arg(long, value_name = "NAME")]
        once: Option<String>,
    },
}

#[derive(Serialize)]
#[serde(transparent)]
struct ShownAccount(AccountInfo);

impl Report for ShownAccount {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "account  {}", self.0.address)?;
        writeln!(out, "free     {} HPIPS", self.0.balance.to_short())?;
        writeln!(out, "locked   {} HPIPS", self.0.locked.to_short())?;
        writeln!(out, "nonce    {}", self.0.nonce)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Sent(Executed);

impl Report for Sent {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "sent, final in block {}", self.0.height)
    }
}

impl Wallet {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let node = context.node()?;
        match self {
            Self::Balance { address } => {
                let query = address.map_or(String::new(), |address| format!("?address={}", escape(&address)));
                let url = format!("/hpips/v0/account{query}");
                emit(&ShownAccount(context.ask(node.get(&url))?), context.json)
            }
            Self::Send { to, amount, once } => {
                let before: AccountInfo = context.ask(node.get("/hpips/v0/account"))?;
                let once = once.map_or_else(new_name, Ok)?;
                let request = TransferRequest { to, amount, once: Some(once.clone()) };
                let sent = context.ask(node.post("/hpips/v0/transfer", &request, SLOW));
                emit(&Sent(sent.map_err(|error| unsure(&error, &before, &once))?), context.json)
            }
        }
    }
}

/// A name that no other transfer has.
fn new_name() -> anyhow::Result<String> {
    let random = getrandom::u64().map_err(|_| anyhow!("no randomness for the transfer's name"))?;
    Ok(format!("{random:016x}"))
}

/// What a person must know before coins are sent again, unless the node said that none were.
fn unsure(error: &anyhow::Error, before: &AccountInfo, once: &str) -> anyhow::Error {
    let code = error.downcast_ref::<CallError>().and_then(CallError::code);
    if code.is_some_and(|code| code != ErrorCode::Timeout) {
        return Stop::new(classify(error), chain_text(error)).into();
    }
    let exit = if classify(error) == Exit::Interrupted { Exit::Interrupted } else { Exit::Failed };
    let text = format!(
        "{}. The coins may be sent all the same, also some minutes from now. To ask again, while this node runs: the same \
         command with --once {once}. Without that, look first: hpips wallet balance showed {} HPIPS free and nonce {} \
         before",
        chain_text(error),
        before.balance.to_exact(),
        before.nonce,
    );
    Stop::new(exit, text).into()
}

/// Show deals: this node's, or those of an object.
#[derive(Debug, clap::Args)]
pub(crate) struct Deals {
    /// Root of an object.
    root: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct ShownDeals(Vec<DealInfo>);

impl Report for ShownDeals {
    fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        for deal in &self.0 {
            writeln!(
                out,
                "deal {:<5} {} {}: {} of {} slots healthy, any {} restore; until block {}; {} HPIPS left",
                deal.deal,
                deal.root,
                ByteCount::new(deal.content_bytes).to_short(),
                deal.healthy,
                deal.n,
                deal.k,
                deal.ends,
                deal.escrow.to_short()
            )?;
        }
        Ok(())
    }
}

impl Deals {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let node = context.node()?;
        let query = self.root.map_or(String::new(), |root| format!("?root={}", escape(&root)));
        let url = format!("/hpips/v0/deals{query}");
        emit(&ShownDeals(context.ask(node.get(&url))?), context.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let work = ProviderWork {
            sectors: 13,
            sealing: (1, 8),
            sectors_wanted: 186,
            sealing_left_ms: Some(50_220_500),
            pieces: 0,
            proving: Vec::new(),
            proofs: 0,
            proof_ms: None,
            trouble: None,
        };
        let all = ProviderWork { sectors: 186, sealing: (0, 0), sealing_left_ms: None, ..work.clone() };
        let unknown = ProviderWork { sectors_wanted: 0, ..all.clone() };
        for (work, expected) in [
            (Some(&work), "13 of 186 sectors, 6.98 GB proven, the next 12 %, ETA 13 h 57 min"),
            (Some(&all), "186 of 186 sectors, 6.98 GB proven"),
            (Some(&unknown), "6.98 GB proven"),
            (None, "6.98 GB proven"),
        ] {
            assert_eq!(sealed(6_980_000_000, work), expected);
        }
        for (seconds, expected) in
            [(0, "1 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h 0 min")]
        {
            assert_eq!(left(Duration::from_secs(seconds)), expected);
        }
        let one = |circuit: &str, state| Proving { circuit: circuit.to_owned(), state };
        let window = one("window", ProvingState::Computing);
        let waiting = one("activation", ProvingState::Waiting);
        assert_eq!(proving(&[]), None);
        assert_eq!(proving(std::slice::from_ref(&window)).unwrap(), "window (computing)");
        assert_eq!(
            proving(&[window, waiting.clone(), waiting.clone()]).unwrap(),
            "window (computing), 2 more waiting"
        );
        assert_eq!(proving(&[waiting]).unwrap(), "activation (waiting)");
    }

    #[test]
    fn an_end_that_leaves_it_open_whether_coins_were_sent_says_so() {
        let before = AccountInfo {
            address: String::new(),
            balance: TokenAmount::from_coins(7),
            locked: TokenAmount::ZERO,
            owed: TokenAmount::ZERO,
            nonce: 3,
        };
        let refused = |code| CallError::Refused(hpips_api::ApiError::new(code, "words")).into();
        for (error, exit, is_open) in [
            (CallError::Deadline(SLOW).into(), Exit::Failed, true),
            (Stop::new(Exit::Interrupted, "interrupted").into(), Exit::Interrupted, true),
            (refused(ErrorCode::Timeout), Exit::Failed, true),
            (refused(ErrorCode::Funds), Exit::Funds, false),
            (refused(ErrorCode::Failed), Exit::Failed, false),
        ] {
            let error: anyhow::Error = error;
            let said = unsure(&error, &before, "n1");
            assert_eq!(classify(&said), exit, "{error}");
            assert_eq!(said.to_string().contains("nonce 3"), is_open, "{said}");
            assert_eq!(said.to_string().contains("--once n1"), is_open, "{said}");
        }
    }

    #[test]
    fn sizes_parse() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("256KiB", 262_144), ("1.5GB", 1_500_000_000), ("100 MB", 100_000_000)]
        {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "GB", "1.2.3MB", "1XB", "-1GB", "99999999999999TB", "1.0000000000001TB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
