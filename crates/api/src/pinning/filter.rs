//! Which requests a list shows.

use std::collections::BTreeMap;

use hpips_ipns::Moment;
use hpips_types::Cid;

use super::failure::Failure;
use super::object::{META_MAX, NAME_BYTES_MAX, Pin, Status, parse_cid};

/// CIDs in one question at most (the specification's limit).
const CIDS_MAX: usize = 10;
/// Requests on a page when nothing is said, and at most (the specification's figures).
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 1000;

/// How a name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    is_partial: bool,
    ignores_case: bool,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    cids: Vec<Cid>,
    name: Option<String>,
    matching: Match,
    /// Pinned ones alone when nothing is said.
    statuses: Vec<Status>,
    before: Option<Moment>,
    after: Option<Moment>,
    meta: BTreeMap<String, String>,
    pub(super) limit: usize,
}

impl Filter {
    /// Reads a query. Lists come as repeated parameters or with commas, as older clients write them.
    ///
    /// # Errors
    /// A [`Failure`] that says what is wrong.
    pub(super) fn parse(query: &str) -> Result<Self, Failure> {
        let wrong = |text: String| Err(Failure::bad_request(text));
        let mut filter = Self {
            cids: Vec::new(),
            name: None,
            matching: Match { is_partial: false, ignores_case: false },
            statuses: Vec::new(),
            before: None,
            after: None,
            meta: BTreeMap::new(),
            limit: LIMIT,
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "cid" => {
                    for text in value.split(',') {
                        if filter.cids.len() == CIDS_MAX {
                            return wrong(format!("at most {CIDS_MAX} CIDs in one question"));
                        }
                        filter.cids.push(parse_cid(text)?);
                    }
                }
                "name" if value.len() > NAME_BYTES_MAX => {
                    return wrong(format!("a name has at most {NAME_BYTES_MAX} bytes"));
                }
                "name" => filter.name = Some(value.into_owned()),
                "match" => {
                    let (is_partial, ignores_case) = match &*value {
                        "exact" => (false, false),
                        "iexact" => (false, true),
                        "partial" => (true, false),
                        "ipartial" => (true, true),
                        _ => {
                            return wrong(format!(
                                "match: {value:?} is none of exact, iexact, partial, ipartial"
                            ));
                        }
                    };
                    filter.matching = Match { is_partial, ignores_case };
                }
                "status" => {
                    for text in value.split(',') {
                        match Status::ALL.into_iter().find(|(_, word)| *word == text) {
                            Some((status, _)) if filter.statuses.contains(&status) => {}
                            Some((status, _)) => filter.statuses.push(status),
                            None => {
                                return wrong(format!(
                                    "status: {text:?} is none of queued, pinning, pinned, failed"
                                ));
                            }
                        }
                    }
                }
                "before" => filter.before = Some(moment(&value)?),
                "after" => filter.after = Some(moment(&value)?),
                "limit" => match value.parse() {
                    Ok(limit @ 1..=LIMIT_MAX) => filter.limit = limit,
                    _ => return wrong(format!("limit: {value:?} is no number from 1 to {LIMIT_MAX}")),
                },
                "meta" => {
                    let pairs: Result<BTreeMap<String, String>, _> = serde_json::from_str(&value);
                    match pairs {
                        Ok(pairs) if pairs.len() <= META_MAX => filter.meta = pairs,
                        Ok(_) => return wrong(format!("at most {META_MAX} pairs of metadata")),
                        Err(error) => return wrong(format!("meta is no JSON object of strings: {error}")),
                    }
                }
                // What later versions of the specification add changes nothing here.
                _ => {}
            }
        }
        if filter.statuses.is_empty() {
            filter.statuses.push(Status::Pinned);
        }
        Ok(filter)
    }

    /// Whether a request is asked for, as far as its pin and date say.
    pub(super) fn takes(&self, pin: &Pin, root: &Cid, created: Moment) -> bool {
        // The version of a CID is a way of writing it.
        let is_same = |cid: &Cid| cid.hash() == root.hash() && cid.codec() == root.codec();
        (self.cids.is_empty() || self.cids.iter().any(is_same))
            && self.name.as_ref().is_none_or(|name| self.matching.holds(&pin.name, name))
            && self.before.is_none_or(|before| created < before)
            && self.after.is_none_or(|after| created > after)
            && self.meta.iter().all(|(key, value)| pin.meta.get(key) == Some(value))
    }

    /// Whether requests that stand so are asked for.
    pub(super) fn takes_status(&self, status: Status) -> bool {
        self.statuses.contains(&status)
    }
}

impl Match {
    fn holds(self, name: &str, wanted: &str) -> bool {
        let compare =
            |name: &str, wanted: &str| if self.is_partial { name.contains(wanted) } else { name == wanted };
        if self.ignores_case {
            compare(&name.to_lowercase(), &wanted.to_lowercase())
        } else {
            compare(name, wanted)
        }
    }
}

fn moment(text: &str) -> Result<Moment, Failure> {
    // In a query that was not encoded, the sign of an offset is read as a space.
    let text = text.replace(' ', "+");
    Moment::parse(&text).ok_or_else(|| Failure::bad_request(format!("{text:?} is no moment of RFC 3339")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    #[test]
    fn filters_as_clients_write_them() {
        let root: Cid = CID.parse().unwrap();
        let pin = Pin {
            cid: CID.into(),
            name: "Precious.PDF".into(),
            origins: Vec::new(),
            meta: [("app".to_owned(), "x".to_owned())].into(),
        };
        let created = Moment::parse("2024-05-06T07:08:09.5Z").unwrap();
        for (query, expected) in [
            ("", true),
            ("unknown=1", true),
            (&format!("cid={CID}"), true),
            ("cid=bafkqaaa", false),
            (&format!("cid=bafkqaaa,{CID}"), true),
            (&format!("cid=bafkqaaa&cid={CID}"), true),
            ("name=Precious.PDF", true),
            ("name=precious.pdf", false),
            ("name=precious.pdf&match=iexact", true),
            ("name=cious&match=partial", true),
            ("name=CIOUS&match=partial", false),
            ("name=CIOUS&match=ipartial", true),
            ("before=2024-05-06T07:08:09.5Z", false),
            ("before=2024-05-06T07:08:10Z", true),
            ("before=2024-05-06T09:08:10+02:00", true),
            ("after=2024-05-06T07:08:09.5Z", false),
            ("after=2024-05-06T07:08:09Z", true),
            ("meta=%7B%22app%22%3A%22x%22%7D", true),
            ("meta=%7B%22app%22%3A%22y%22%7D", false),
        ] {
            assert_eq!(Filter::parse(query).unwrap().takes(&pin, &root, created), expected, "{query}");
        }
        let statuses = |query: &str| Filter::parse(query).unwrap().statuses;
        assert_eq!(statuses(""), [Status::Pinned]);
        assert_eq!(statuses("status=queued,failed&status=queued"), [Status::Queued, Status::Failed]);
        assert_eq!(Filter::parse("limit=1000").unwrap().limit, 1000);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let cids = |count: usize| format!("cid={}", vec![CID; count].join(","));
        assert!(Filter::parse(&cids(10)).is_ok());
        let name = format!("name={}", "n".repeat(256));
        for wrong in [
            "cid=x",
            "cid=",
            "match=fuzzy",
            "status=done",
            "before=yesterday",
            "after=2024-13-01T00:00:00Z",
            "limit=0",
            "limit=1001",
            "limit=x",
            "meta=map[a:b]",
            "meta=[]",
            &cids(11),
            &name,
        ] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }
}
