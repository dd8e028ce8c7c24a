//! The inverse cosine transform of a block, in the library's integers: that of Loeffler, Ligtenberg and Moschytz with 12
//! bits behind the point, its products gathered so that each is of a pair of inputs and a pair of constants.

use super::Block;
use crate::vectors::{Quad, Words};

/// Rounding of the first pass, which leaves two more bits than its input has.
const FIRST: (i32, u32) = (512, 10);

/// Rounding of the second pass, which also moves pixels from around 0 to around 128.
const SECOND: (i32, u32) = (512 + 65536 + (128 << 17), 17);

/// Gives the rows of pixels, and leaves zeros in `block`. Where that `is_flat`, it has but its first coefficient. None
/// where numbers between the passes take more than 16 bits, as those of no picture do.
///
/// Not inlined: its results must meet in one place. Cranelift computes what has no effects where it is used, so among the
/// branches of a caller that writes rows to where they fit it would compute nearly all of this once for each row.
#[inline(never)]
pub(super) fn inverse(block: &mut Block, is_flat: bool, out: &mut [[u8; 8]; 8]) -> Option<()> {
    if is_flat {
        // One gray: what the two passes come to.
        let pixel = ((i32::from(block[0]) + 4 + 1024) >> 3).clamp(0, 255) as u8;
        block[0] = 0;
        *out = [[pixel; 8]; 8];
        return Some(());
    }
    let between = pass(taken(block), FIRST);
    if Words::has_extreme(between) {
        return None;
    }
    // From here on a vector is a column.
    *out = Words::rows_of_bytes(pass(Words::transposed(between), SECOND));
    Some(())
}

/// The rows.
#[inline]
fn taken(block: &mut Block) -> [Words; 8] {
    let mut rows = [Words::of([0; 8]); 8];
    // Row by row, so that the compiler does not make one filling of memory of it, which is a call to the host.
    for (row, words) in rows.iter_mut().zip(block.as_chunks_mut::<8>().0) {
        *row = Words::of(*words);
        *words = [0; 8];
    }
    rows
}

/// One dimension of the transform, for all columns at a time.
#[inline(always)]
fn pass([a, b, c, d, e, f, g, h]: [Words; 8], (round, bits): (i32, u32)) -> [Words; 8] {
    let ([ae, ae_], [cg, cg_], [bd, bd_], [fh, fh_]) = (a.interleaved(e), c.interleaved(g), b.interleaved(d), f.interleaved(h));
    let (left, right) = (half([ae, cg, bd, fh], round, bits), half([ae_, cg_, bd_, fh_], round, bits));
    std::array::from_fn(|row| Words::narrowed(left[row], right[row]))
}

/// Four columns, of which the inputs 0 and 4, 2 and 6, 1 and 3, and 5 and 7 are given in turn.
#[inline(always)]
fn half([ae, cg, bd, fh]: [Words; 4], round: i32, bits: u32) -> [Quad; 8] {
    let of = |first: i16, second: i16| Words::of([first, second, first, second, first, second, first, second]);
    let round = Quad::splat(round);
    let (t0, t1) = (ae.dot(of(4096, 4096)) + round, ae.dot(of(4096, -4096)) + round);
    let (t2, t3) = (cg.dot(of(2217, -5350)), cg.dot(of(5352, 2217)));
    let (x0, x1, x2, x3) = (t0 + t3, t1 + t2, t1 - t2, t0 - t3);
    let odd0 = bd.dot(of(1131, -3218)) + fh.dot(of(4816, -5680));
    let odd1 = bd.dot(of(3219, -5681)) + fh.dot(of(1132, 4816));
    let odd2 = bd.dot(of(4816, -1129)) + fh.dot(of(-5681, -3218));
    let odd3 = bd.dot(of(5683, 4816)) + fh.dot(of(3219, 1131));
    [x0 + odd3, x1 + odd2, x2 + odd1, x3 + odd0, x3 - odd0, x2 - odd1, x1 - odd2, x0 - odd3].map(|sum| sum >> bits)
}
