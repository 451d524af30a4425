//! A btoken that is a list of ops, and bytes that show whether it is whole.

use super::checker::Op;

const OP_LEN: usize = 8;
/// Filler makes some btokens longer than one read, one page or one record of TLS.
const FILLER_MAX: usize = 60_000;

/// The btoken of a list. The last op decides how much filler follows it.
pub(crate) fn encode(ops: &[Op]) -> Vec<u8> {
    let count = u32::try_from(ops.len()).expect("a list has few ops");
    let mut btoken = count.to_be_bytes().to_vec();
    for op in ops {
        btoken.extend_from_slice(&op.0.to_be_bytes());
    }
    let last = ops.last().map_or(0, |op| op.0);
    // Every eighth list is long.
    let filler = usize::try_from(last.wrapping_mul(7919)).unwrap_or(0) % FILLER_MAX;
    let filler = if last.is_multiple_of(8) {
        filler
    } else {
        filler % 200
    };
    btoken.resize(btoken.len() + filler, last.to_be_bytes()[7]);
    btoken
}

/// The list in a btoken. `None`: the btoken is not whole.
pub(crate) fn decode(btoken: &[u8]) -> Option<Vec<Op>> {
    let (count, rest) = btoken.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    let ops = rest.get(..count.checked_mul(OP_LEN)?)?;
    let (ops, _) = ops.as_chunks::<OP_LEN>();
    let ops: Vec<Op> = ops.iter().map(|op| Op(u64::from_be_bytes(*op))).collect();
    (encode(&ops) == btoken).then_some(ops)
}
