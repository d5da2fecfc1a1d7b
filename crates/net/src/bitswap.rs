use crate::*; 
#[derive(Debug,Clone,Copy,Default)] pub struct Stats; #[derive(Debug,Clone)] pub(crate) struct BitswapHandle;
impl BitswapHandle { pub(crate) fn stats(&self)->Stats{Stats} }
pub(crate) fn start(_: &crate::net::Shared, _: std::sync::Arc<dyn hpips_bitswap::BlockSource>, _: &Limits) -> Result<BitswapHandle, AlreadyAccepted> { Ok(BitswapHandle) }
