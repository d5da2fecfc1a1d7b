//! Cuts where a Rabin fingerprint over 16 bytes ends in zero bits (M. O. Rabin, Fingerprinting by random polynomials,
//! 1981), with the polynomial that IPFS fixed.

/// Irreducible polynomial over GF(2), of degree 53.
const POLYNOMIAL: u64 = 17_437_180_132_763_653;
/// Its degree.
const DEGREE: u32 = 63 - POLYNOMIAL.leading_zeros();
/// Bytes the fingerprint covers.
const WINDOW: usize = 16;

/// What leaves the window, and what reduces the byte shifted out at the top.
struct Tables {
    out: [u64; 256],
    reduce: [u64; 256],
}

static TABLES: Tables = tables();

/// Remainder of a polynomial modulo [`POLYNOMIAL`].
const fn remainder(mut value: u64) -> u64 {
    while value >> DEGREE != 0 {
        value ^= POLYNOMIAL << (63 - value.leading_zeros() - DEGREE);
    }
    value
}

const fn tables() -> Tables {
    let mut tables = Tables { out: [0; 256], reduce: [0; 256] };
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u64;
        // The byte followed by a window of zeros less one.
        let mut hash = remainder(value);
        let mut zeros = 1;
        while zeros < WINDOW {
            hash = remainder(hash << 8);
            zeros += 1;
        }
        tables.out[byte] = hash;
        // Cancels the eight bits above the degree and adds what they are modulo the polynomial.
        tables.reduce[byte] = remainder(value << DEGREE) | value << DEGREE;
        byte += 1;
    }
    tables
}

/// Bounds, and the state within a chunk.
#[derive(Clone, Debug)]
pub(super) struct Rabin {
    min: usize,
    max: usize,
    mask: u64,
    /// Bytes of the chunk looked at.
    at: usize,
    window: [u8; WINDOW],
    /// Where the next byte goes in the window.
    place: usize,
    digest: u64,
}

impl Rabin {
    pub(super) fn new(min: usize, average: usize, max: usize) -> Self {
        let mask = (1 << average.ilog2()) - 1;
        let mut rabin = Self { min, max, mask, at: 0, window: [0; WINDOW], place: 0, digest: 0 };
        rabin.restart();
        rabin
    }

    /// A chunk begins with a window of zeros and a one, and hashes nothing until its least length is near.
    fn restart(&mut self) {
        self.window = [0; WINDOW];
        self.place = 0;
        self.digest = 0;
        self.slide(1);
        self.at = self.min - WINDOW;
    }

    fn slide(&mut self, byte: u8) {
        let leaves = core::mem::replace(&mut self.window[self.place], byte);
        self.place = (self.place + 1) % WINDOW;
        let digest = self.digest ^ TABLES.out[usize::from(leaves)];
        let top = usize::try_from(digest >> (DEGREE - 8)).expect("eight bits");
        self.digest = (digest << 8 | u64::from(byte)) ^ TABLES.reduce[top];
    }

    pub(super) fn cut(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.at) {
            self.slide(*byte);
            self.at += 1;
            if self.at >= self.min && (self.digest & self.mask == 0 || self.at >= self.max) {
                let length = self.at;
                self.restart();
                return Some(length);
            }
        }
        None
    }
}
