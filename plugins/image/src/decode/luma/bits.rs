//! The bits of a scan.

/// Bytes of zeros behind the last one, so that reading on needs no care until the end.
const PADDING: usize = 16;

/// Scans with more are left to the library, which needs no copy. Arbitrary: those of 16 megapixels mostly have less.
const MOST_BYTES: usize = 8 << 20;

/// For so many there is room at first. Arbitrary: most scans of a megapixel have less.
const FIRST_BYTES: usize = 256 << 10;

/// The bytes of a scan without the zeros that follow each 255, padded, and how many they are; none where anything but the
/// end of the image follows.
pub(super) fn without_stuffing(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    // Much may follow the end: some cameras put videos there.
    let mut out = Vec::with_capacity(data.len().min(FIRST_BYTES) + PADDING);
    let mut rest = data;
    while out.len() <= MOST_BYTES {
        // Most have none: sixteen are looked at together.
        while let Some((chunk, behind)) = rest.split_first_chunk::<16>()
            && out.len() <= MOST_BYTES
            && chunk.iter().fold(true, |clean, byte| clean & (*byte != 0xff))
        {
            out.extend_from_slice(chunk);
            rest = behind;
        }
        let marker = rest.iter().position(|byte| *byte == 0xff)?;
        out.extend_from_slice(&rest[..marker]);
        match rest.get(marker + 1)? {
            0 => out.push(0xff),
            0xd9 => {
                let length = out.len();
                out.resize(length + PADDING, 0);
                return Some((out, length));
            }
            _ => return None,
        }
        rest = &rest[marker + 2..];
    }
    None
}

/// Reads bits from the highest down. Copied into what uses it often, it stays in registers there.
#[derive(Clone, Copy)]
pub(super) struct Bits<'d> {
    data: &'d [u8],
    /// Bytes without the padding.
    length: usize,
    /// Of the first byte that is not in `buffer` with all its bits.
    at: usize,
    /// The next bits, from the highest down; what lies below `count` is what follows, too.
    buffer: u64,
    count: u32,
}

impl<'d> Bits<'d> {
    pub(super) fn new(data: &'d [u8], length: usize) -> Self {
        Self { data, length, at: 0, buffer: 0, count: 0 }
    }

    /// Sees to it that there are 32 bits: more than the longest code and the longest number after it have.
    #[inline]
    pub(super) fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            self.buffer |= big_endian(*next) >> self.count;
            let whole = (63 - self.count) >> 3;
            self.at += whole as usize;
            self.count += whole * 8;
        }
    }

    /// The next bits, without taking them.
    #[inline]
    pub(super) fn peek(&self, bits: u32) -> usize {
        (self.buffer >> (64 - bits)) as usize
    }

    /// Takes bits. Where that is more than there are, the count wraps, and stays what no buffer holds: see `ran_out`.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// Takes a number of so many bits, as JPEG stores them: those that begin with a zero are negative.
    #[inline]
    pub(super) fn number(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        let value = (self.buffer >> (64 - bits)) as i32;
        let is_negative = !(self.buffer as i64 >> 63) as i32;
        self.take(bits);
        value + (is_negative & (1 - (1 << bits)))
    }

    /// Whether more was taken than there is, the padding included.
    pub(super) fn ran_out(&self) -> bool {
        self.count > u64::BITS
    }

    /// Whether what was taken is all there was: no more than that, and less than a byte of it left.
    pub(super) fn is_used_up(&self) -> bool {
        if self.ran_out() {
            return false;
        }
        let taken = self.at * 8 - self.count as usize;
        taken <= self.length * 8 && self.length * 8 - taken < 8
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn big_endian(bytes: [u8; 8]) -> u64 {
    // WebAssembly has no instruction that swaps bytes but among those for vectors.
    use std::arch::wasm32::{i8x16_shuffle, u64x2_extract_lane, u64x2_splat};
    let bytes = u64x2_splat(u64::from_le_bytes(bytes));
    u64x2_extract_lane::<0>(i8x16_shuffle::<7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0>(bytes, bytes))
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn big_endian(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}
