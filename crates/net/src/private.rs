//! The key of a private network, in the file format of libp2p (`swarm.key`).

use core::fmt;
use core::str::FromStr;

use libp2p::pnet::PreSharedKey;
use zeroize::Zeroizing;

/// Bytes of a key file at most.
pub const KEY_FILE_BYTES_MAX: usize = 1024;

/// The key that every member of a private network has.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<[u8; 32]>);

/// Not a key file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no key of a private network: expected the lines /key/swarm/psk/1.0.0/, /base16/ and 64 hexadecimal digits"
)]
pub struct PrivateKeyError;

impl PrivateKey {
    /// A key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What may be shown of it, equal in every libp2p.
    pub fn fingerprint(&self) -> String {
        self.shared().fingerprint().to_string()
    }

    pub(crate) fn shared(&self) -> PreSharedKey {
        PreSharedKey::new(*self.0)
    }
}

impl FromStr for PrivateKey {
    type Err = PrivateKeyError;

    fn from_str(text: &str) -> Result<Self, PrivateKeyError> {
        if text.len() > KEY_FILE_BYTES_MAX {
            return Err(PrivateKeyError);
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let head = (lines.next(), lines.next());
        let (Some("/key/swarm/psk/1.0.0/"), Some("/base16/")) = head else { return Err(PrivateKeyError) };
        let digits =
            lines.next().filter(|digits| digits.len() == 64 && digits.is_ascii()).ok_or(PrivateKeyError)?;
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(PrivateKeyError);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| PrivateKeyError)?;
        }
        if lines.next().is_some() {
            return Err(PrivateKeyError);
        }
        Ok(Self(bytes))
    }
}

/// The key stays out of every log.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_read_as_libp2p_writes_them() {
        let key = PrivateKey::new([0xab; 32]);
        assert_eq!(key.shared().to_key_file().parse(), Ok(key.clone()));
        let upper = format!("/key/swarm/psk/1.0.0/\r\n/base16/\r\n{}", "AB".repeat(32));
        assert_eq!(upper.parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "PrivateKey");
        let short = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}", "ab".repeat(31));
        let long = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\nmore", "ab".repeat(32));
        let odd = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}", "xy".repeat(32));
        let huge = " ".repeat(KEY_FILE_BYTES_MAX + 1);
        for wrong in ["", "/base16/", &short, &long, &odd, &huge] {
            assert_eq!(wrong.parse::<PrivateKey>(), Err(PrivateKeyError));
        }
    }
}
