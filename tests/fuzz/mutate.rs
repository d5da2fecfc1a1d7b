//! Damage to valid encodings, the same for the same seed.

/// A small generator (xorshift64*); its sequence only has to be repeatable.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).expect("64 bits")).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// Values at which lengths and counts turn wrong.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x20, 0x5b];

/// Changes an input a few times: bits, bytes, cuts, repeats, numbers at their edges.
pub(crate) fn mutate(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.byte(),
            2 if at < bytes.len() => bytes[at] = EDGES[dice.below(EDGES.len())],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, dice.byte()),
            5 => {
                let end = (at + dice.below(16)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let length = 1 + dice.below(10);
                let varint: Vec<u8> = (0..length).map(|i| if i + 1 < length { 0xff } else { 0x7f }).collect();
                bytes.splice(at..at, varint);
            }
        }
    }
    bytes
}
