//! Records: what a name points at, signed.

use core::cmp::Ordering;
use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hpips_types::cbor;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::name::{KeyError, Name};
use crate::proto::{Reader, Value, put_bytes, put_number};

/// Longest record, bytes (the specification's limit).
pub const RECORD_BYTES_MAX: usize = 10 << 10;
/// Stands before what is signed. Nothing else that is signed here begins like it.
const SIGNED: &[u8] = b"ipns-signature:";
/// The one kind of validity there is: until a moment.
const UNTIL: u64 = 0;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where the name points: a path of content or of another name.
    pub value: String,
    /// When it ends.
    pub validity: Moment,
    /// The highest counts.
    pub sequence: u64,
    /// How long it may be remembered before the name is asked for again; 0 says nothing.
    pub ttl_nanoseconds: u64,
}

/// Which signatures a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Those of today, and the fields that programs before 2021 read.
    V1AndV2,
    /// Those of today only.
    V2,
}

/// Why a record is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Not a path.
    #[error("{0:?} is no path: names point at /ipfs/CID or /ipns/NAME")]
    Value(String),
    /// The path is too long.
    #[error("the record would have {0} bytes, {RECORD_BYTES_MAX} are the most: point at a shorter path")]
    TooLong(usize),
}

/// Why a record is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than the specification allows.
    #[error("a record of {0} bytes: {RECORD_BYTES_MAX} are the most")]
    TooLong(usize),
    /// No protobuf.
    #[error("not a record")]
    Malformed,
    /// A record without what is signed.
    #[error("the record lacks its {0}: it was made by a program from before 2021")]
    Missing(&'static str),
    /// What is signed is not dag-cbor with the fields of a record.
    #[error("what the record signed is malformed")]
    Data,
    /// An unknown kind of validity.
    #[error("the record's validity is of unknown kind {0}")]
    ValidityType(u64),
    /// The end is no moment.
    #[error("the record's end is no moment of RFC 3339")]
    Validity,
    /// The old fields say something else than what is signed.
    #[error("the record's old field {0} differs from what is signed")]
    Differs(&'static str),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not signed by the name's key.
    #[error("the record is not signed by the name's key")]
    Signature,
    /// It has ended.
    #[error("the record ended at {0}: whoever holds the name's key has to publish it again")]
    Ended(Moment),
}

/// The signed part.
#[derive(Debug, Serialize, Deserialize)]
struct Data {
    #[serde(rename = "Sequence")]
    sequence: u64,
    #[serde(rename = "TTL", default)]
    ttl: u64,
    #[serde(rename = "Validity", with = "serde_bytes")]
    validity: Vec<u8>,
    #[serde(rename = "ValidityType")]
    validity_type: u64,
    #[serde(rename = "Value", with = "serde_bytes")]
    value: Vec<u8>,
}

/// A record as it was signed. Decoded, it is not yet believed: see [`Record::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    content: Content,
    form: Form,
    data: Vec<u8>,
    signature: Vec<u8>,
    key: Option<Vec<u8>>,
}

/// The fields of the protobuf as they come.
#[derive(Default)]
struct Fields<'a> {
    value: Option<&'a [u8]>,
    signature_v1: Option<&'a [u8]>,
    validity_type: u64,
    validity: &'a [u8],
    sequence: u64,
    ttl: u64,
    key: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes);
        // Of a field that comes twice the last one counts, as protobuf says.
        while let Some(field) = reader.field() {
            match field.ok_or(RecordError::Malformed)? {
                (1, Value::Bytes(value)) => fields.value = Some(value),
                (2, Value::Bytes(signature)) => fields.signature_v1 = Some(signature),
                (3, Value::Varint(kind)) => fields.validity_type = kind,
                (4, Value::Bytes(validity)) => fields.validity = validity,
                (5, Value::Varint(sequence)) => fields.sequence = sequence,
                (6, Value::Varint(ttl)) => fields.ttl = ttl,
                (7, Value::Bytes(key)) => fields.key = Some(key),
                (8, Value::Bytes(signature)) => fields.signature = Some(signature),
                (9, Value::Bytes(data)) => fields.data = Some(data),
                (1..=9, _) => return Err(RecordError::Malformed),
                _ => {}
            }
        }
        Ok(fields)
    }

    /// Whether the fields of old programs say what is signed; `false` when there are none.
    fn agree(&self, data: &Data) -> Result<bool, RecordError> {
        let some = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| !bytes.is_empty());
        if !some(self.value) && !some(self.signature_v1) {
            return Ok(false);
        }
        for (name, is_equal) in [
            ("value", self.value.unwrap_or_default() == data.value),
            ("validity", self.validity == data.validity),
            ("validityType", self.validity_type == data.validity_type),
            ("sequence", self.sequence == data.sequence),
            ("ttl", self.ttl == data.ttl),
        ] {
            if !is_equal {
                return Err(RecordError::Differs(name));
            }
        }
        Ok(true)
    }
}

impl Record {
    /// Makes and signs a record. `seed` is the secret of the ed25519 key whose name it is for.
    ///
    /// # Errors
    /// [`CreateError`] by variant.
    pub fn create(seed: &[u8; 32], content: &Content, form: Form) -> Result<Self, CreateError> {
        // The old signature covers the value from its first byte: a slash there keeps it apart from everything else
        // that the same key signs.
        if !content.value.starts_with('/') {
            return Err(CreateError::Value(content.value.chars().take(80).collect()));
        }
        let key = SigningKey::from_bytes(seed);
        let validity = content.validity.to_string().into_bytes();
        let data = Data {
            sequence: content.sequence,
            ttl: content.ttl_nanoseconds,
            validity,
            validity_type: UNTIL,
            value: content.value.clone().into_bytes(),
        };
        let signed = cbor::encode(&data);
        let signature = key.sign(&[SIGNED, &signed].concat()).to_bytes().to_vec();
        let mut bytes = Vec::new();
        if form == Form::V1AndV2 {
            let old = key.sign(&[&data.value[..], &data.validity, b"EOL"].concat());
            put_bytes(&mut bytes, 1, &data.value);
            put_bytes(&mut bytes, 2, &old.to_bytes());
            put_number(&mut bytes, 3, UNTIL);
            put_bytes(&mut bytes, 4, &data.validity);
            put_number(&mut bytes, 5, data.sequence);
            put_number(&mut bytes, 6, data.ttl);
        }
        put_bytes(&mut bytes, 8, &signature);
        put_bytes(&mut bytes, 9, &signed);
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(CreateError::TooLong(bytes.len()));
        }
        Ok(Self { bytes, content: content.clone(), form, data: signed, signature, key: None })
    }

    /// Reads a record. Its signature and end are not looked at.
    ///
    /// # Errors
    /// [`RecordError`] by variant; nothing is allocated before the length is checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let fields = Fields::read(bytes)?;
        let present = |field: Option<&[u8]>, name| match field {
            Some(bytes) if !bytes.is_empty() => Ok(bytes.to_vec()),
            _ => Err(RecordError::Missing(name)),
        };
        let signature = present(fields.signature, "signatureV2")?;
        let signed = present(fields.data, "data")?;
        let data: Data = serde_ipld_dagcbor::from_slice(&signed).map_err(|_| RecordError::Data)?;
        let is_old = fields.agree(&data)?;
        if data.validity_type != UNTIL {
            return Err(RecordError::ValidityType(data.validity_type));
        }
        let validity = core::str::from_utf8(&data.validity).ok().and_then(Moment::parse);
        let content = Content {
            value: String::from_utf8(data.value).map_err(|_| RecordError::Data)?,
            validity: validity.ok_or(RecordError::Validity)?,
            sequence: data.sequence,
            ttl_nanoseconds: data.ttl,
        };
        let key = fields.key.filter(|key| !key.is_empty()).map(<[u8]>::to_vec);
        let form = if is_old { Form::V1AndV2 } else { Form::V2 };
        Ok(Self { bytes: bytes.to_vec(), content, form, data: signed, signature, key })
    }

    /// Checks the record against its name and the clock; what it says, when it holds.
    ///
    /// # Errors
    /// [`RecordError::Key`], [`RecordError::Signature`] and [`RecordError::Ended`].
    pub fn verify(&self, name: &Name, now: Moment) -> Result<&Content, RecordError> {
        self.verify_signature(name)?;
        if self.content.validity <= now {
            return Err(RecordError::Ended(self.content.validity));
        }
        Ok(&self.content)
    }

    /// As [`Record::verify`] without the clock.
    ///
    /// # Errors
    /// [`RecordError::Key`] and [`RecordError::Signature`].
    pub fn verify_signature(&self, name: &Name) -> Result<(), RecordError> {
        let account = name.key(self.key.as_deref())?;
        let key = VerifyingKey::from_bytes(account.as_bytes()).map_err(|_| KeyError::Malformed)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| RecordError::Signature)?;
        let signed = [SIGNED, &self.data].concat();
        key.verify_strict(&signed, &signature).map_err(|_| RecordError::Signature)
    }

    /// Whether this one counts where `other` is known too, both of the same name and verified: by sequence, then by
    /// end, then by bytes, so that everybody decides the same. Equal records are not newer than each other.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let order = |record: &Self| (record.content.sequence, record.content.validity);
        match order(self).cmp(&order(other)) {
            Ordering::Equal => self.bytes > other.bytes,
            order => order == Ordering::Greater,
        }
    }

    /// The record as it is sent and stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says, believed or not.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Which signatures it carries.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The signer's key in libp2p's protobuf, where the record brings it along.
    pub fn attached_key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("content", &self.content)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
