//! What decides the size of a circuit, taken from the network's parameters.

use hpips_types::NetworkParams;
use serde::{Deserialize, Serialize};

/// Depth of every record's leaf tree in a window proof, on every network. Smaller sectors are padded
/// virtually with zero subtrees; a bundle always has this depth.
pub const LEAF_DEPTH: u8 = 8;

/// Leaves of a record: `8^LEAF_DEPTH`.
pub const LEAVES: u32 = 1 << (3 * LEAF_DEPTH as u32);

/// Bits that a packed element carries at most. The modulus is above `2^254`, so packing is injective; 252
/// holds seven window challenges or one activation challenge of the largest shape exactly.
pub const ELEMENT_BITS: u32 = 252;

/// Bytes of a leaf of sealed space: a canonical field element.
pub const NODE_BYTES: u64 = 32;

/// Bytes of data in one leaf of a bundle: an element below `2^248`.
pub const DATA_BYTES: u64 = 31;

/// The sizes that decide circuits, keys and challenges of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Shape {
    sector_height: u8,
    set_depth: u8,
    window_challenges: u16,
    activation_challenges: u16,
    activation_partitions: u16,
}

/// Why parameters give no circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Sectors have `8^2` to `8^8` nodes.
    #[error("sector height {0} is not within 2 to 8")]
    SectorHeight(u8),
    /// Proving sets have `8^1` to `8^4` records: more does not fit one packed challenge.
    #[error("set depth {0} is not within 1 to 4")]
    SetDepth(u8),
    /// A proof without challenges proves nothing; more than 4,096 is beyond any key.
    #[error("{0} challenges or partitions are not within 1 to 4096")]
    Challenges(u16),
}

impl Shape {
    /// The shape of a network.
    ///
    /// # Errors
    /// [`ShapeError`] names the parameter out of range.
    pub fn of(params: &NetworkParams) -> Result<Self, ShapeError> {
        Self::new(
            params.sector_height,
            params.set_depth,
            params.window_challenges,
            params.activation_challenges,
            params.activation_partitions,
        )
    }

    /// A shape by its numbers, in the order of the parameter table.
    ///
    /// # Errors
    /// [`ShapeError`] names the number out of range.
    pub fn new(
        sector_height: u8,
        set_depth: u8,
        window_challenges: u16,
        activation_challenges: u16,
        activation_partitions: u16,
    ) -> Result<Self, ShapeError> {
        if !(2..=LEAF_DEPTH).contains(&sector_height) {
            return Err(ShapeError::SectorHeight(sector_height));
        }
        if !(1..=4).contains(&set_depth) {
            return Err(ShapeError::SetDepth(set_depth));
        }
        for count in [window_challenges, activation_challenges, activation_partitions] {
            if !(1..=4_096).contains(&count) {
                return Err(ShapeError::Challenges(count));
            }
        }
        Ok(Self { sector_height, set_depth, window_challenges, activation_challenges, activation_partitions })
    }

    /// A sector has `8^sector_height` nodes.
    pub const fn sector_height(&self) -> u8 {
        self.sector_height
    }

    /// A proving set, and a batch, has `8^set_depth` places.
    pub const fn set_depth(&self) -> u8 {
        self.set_depth
    }

    /// Challenges of a window proof.
    pub const fn window_challenges(&self) -> u16 {
        self.window_challenges
    }

    /// Challenges of one partition of an activation.
    pub const fn activation_challenges(&self) -> u16 {
        self.activation_challenges
    }

    /// Proofs of one activation.
    pub const fn activation_partitions(&self) -> u16 {
        self.activation_partitions
    }

    /// Nodes of a sector.
    pub const fn nodes(&self) -> u32 {
        1 << self.node_bits()
    }

    /// Bytes of a sector.
    pub const fn sector_bytes(&self) -> u64 {
        NODE_BYTES << self.node_bits()
    }

    /// Records a proving set holds at most.
    pub const fn records(&self) -> u32 {
        1 << self.record_bits()
    }

    /// Bits of a node's index.
    pub const fn node_bits(&self) -> u32 {
        3 * self.sector_height as u32
    }

    /// Bits of a record's index.
    pub const fn record_bits(&self) -> u32 {
        3 * self.set_depth as u32
    }

    /// Bits of one window challenge: leaf, then record.
    pub const fn window_bits(&self) -> u32 {
        3 * LEAF_DEPTH as u32 + self.record_bits()
    }

    /// Window challenges in one packed element.
    pub const fn window_per_element(&self) -> u32 {
        ELEMENT_BITS / self.window_bits()
    }

    /// Bits of one activation challenge: node, seven parents, two expander parents, record. At most
    /// [`ELEMENT_BITS`], so each challenge is one packed element.
    pub const fn activation_bits(&self) -> u32 {
        10 * self.node_bits() + self.record_bits()
    }
}

/// The same fields, not yet checked: what is decoded.
#[derive(Serialize, Deserialize)]
struct Unchecked {
    sector_height: u8,
    set_depth: u8,
    window_challenges: u16,
    activation_challenges: u16,
    activation_partitions: u16,
}

impl TryFrom<Unchecked> for Shape {
    type Error = ShapeError;

    fn try_from(raw: Unchecked) -> Result<Self, ShapeError> {
        Self::new(
            raw.sector_height,
            raw.set_depth,
            raw.window_challenges,
            raw.activation_challenges,
            raw.activation_partitions,
        )
    }
}

impl From<Shape> for Unchecked {
    fn from(shape: Shape) -> Self {
        let Shape {
            sector_height,
            set_depth,
            window_challenges,
            activation_challenges,
            activation_partitions,
        } = shape;
        Self { sector_height, set_depth, window_challenges, activation_challenges, activation_partitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_networks_have_shapes_that_pack() {
        for (params, per_element) in
            [(NetworkParams::dev(), 8), (NetworkParams::testnet(), 7), (NetworkParams::main(), 7)]
        {
            let shape = Shape::of(&params).unwrap();
            assert_eq!(shape.sector_bytes(), params.sector_bytes());
            assert_eq!(u64::from(shape.records()), params.set_records());
            assert_eq!(shape.window_per_element(), per_element, "{}", params.name);
            assert!(shape.activation_bits() <= ELEMENT_BITS);
        }
        for height in 2..=8 {
            let shape = Shape::new(height, 2, 1, 1, 1).unwrap();
            assert_eq!((shape.nodes(), shape.sector_height()), (8u32.pow(height.into()), height));
        }
        assert_eq!(Shape::new(1, 2, 1, 1, 1), Err(ShapeError::SectorHeight(1)));
        assert_eq!(Shape::new(9, 2, 1, 1, 1), Err(ShapeError::SectorHeight(9)));
        assert_eq!(Shape::new(4, 5, 1, 1, 1), Err(ShapeError::SetDepth(5)));
        assert_eq!(Shape::new(4, 2, 0, 1, 1), Err(ShapeError::Challenges(0)));
    }
}
