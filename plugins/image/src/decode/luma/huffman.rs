//! Codes of a scan, and what they stand for.

use super::bits::Bits;

/// The codes of a table as the file lists them.
#[derive(Clone, Copy)]
pub(super) struct Codes<'d> {
    /// How many codes there are of 1 to 16 bits.
    pub(super) counts: &'d [u8; 16],
    /// What they stand for, the shortest first.
    pub(super) symbols: &'d [u8],
}

/// Codes of up to so many bits are looked up; they are nearly all that occur.
const LOOKUP: u32 = 9;

/// What a code stands for that is longer than is looked up.
#[derive(Clone)]
struct Long {
    /// By the length of codes: the first 16 bits that are too large for any code of up to that length.
    limits: [u32; 17],
    /// By the length of codes: what added to a code gives the place of its symbol.
    offsets: [i32; 17],
    symbols: [u8; 256],
}

impl Long {
    /// The length of the code that the next 16 bits begin with, and its symbol; none where no code does.
    #[cold]
    fn find(&self, next: u32) -> Option<(u32, u8)> {
        let length = (LOOKUP + 1..=16).find(|length| next < self.limits[*length as usize])?;
        let place = (next >> (16 - length)) as i32 + self.offsets[length as usize];
        Some((length, *self.symbols.get(usize::try_from(place).ok()?)?))
    }
}

/// Goes through a table's codes, the short ones one by one; none where it is not possible.
fn build(codes: &Codes<'_>, mut short: impl FnMut(usize, u32, u8)) -> Option<Long> {
    let mut long = Long { limits: [0; 17], offsets: [0; 17], symbols: [0; 256] };
    let mut code = 0_u32;
    let mut place = 0;
    for (length, count) in (1_u32..).zip(codes.counts) {
        long.offsets[length as usize] = place as i32 - code as i32;
        for _ in 0..*count {
            let symbol = *codes.symbols.get(place)?;
            *long.symbols.get_mut(place)? = symbol;
            if length <= LOOKUP {
                short(code as usize, length, symbol);
            }
            code += 1;
            place += 1;
        }
        // No code consists of ones alone.
        if code >= 1 << length && *count > 0 {
            return None;
        }
        long.limits[length as usize] = code << (16 - length);
        code <<= 1;
    }
    Some(long)
}

/// All beginnings of `LOOKUP` bits that a code has.
fn beginnings(code: usize, length: u32) -> std::ops::Range<usize> {
    let free = LOOKUP - length;
    code << free..(code + 1) << free
}

/// Codes of the first coefficients.
pub(super) struct DcTable {
    /// By the next bits: the code's length, and that of the number that follows. Length 0 stands for a longer code.
    lookup: [(u8, u8); 1 << LOOKUP],
    long: Long,
}

/// Bits of the largest difference that 8-bit pixels can have.
const MOST_DC_BITS: u8 = 11;

impl DcTable {
    pub(super) fn new(codes: Codes<'_>) -> Option<Self> {
        let mut lookup = [(0, 0); 1 << LOOKUP];
        let long = build(&codes, |code, length, symbol| {
            if let Some(entries) = lookup.get_mut(beginnings(code, length)) {
                entries.fill((length as u8, symbol));
            }
        })?;
        codes.symbols.iter().all(|symbol| *symbol <= MOST_DC_BITS).then_some(Self { lookup, long })
    }

    /// The next difference.
    #[inline]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> Option<i32> {
        let (length, size) = match self.lookup[bits.peek(LOOKUP)] {
            (0, _) => self.long.find(bits.peek(16) as u32)?,
            (length, size) => (u32::from(length), size),
        };
        bits.take(length);
        Some(bits.number(u32::from(size)))
    }
}

/// What comes next among the coefficients of a block.
///
/// From the lowest bits: 4 of the size of the number that follows, 4 of the run of zeros before it, 5 of the length of
/// the code, and from bit 16 on the number itself, where it was within the bits looked up; then its size reads 0, and the
/// length includes it.
#[derive(Clone, Copy)]
pub(super) struct Found(i32);

impl Found {
    fn new(length: u32, symbol: u8) -> Self {
        Self((length << 8) as i32 | i32::from(symbol))
    }

    /// So many zeros come before it.
    #[inline]
    pub(super) fn run(self) -> usize {
        (self.0 >> 4 & 15) as usize
    }

    /// The number, where it was within the bits looked up.
    #[inline]
    pub(super) fn number(self) -> Option<i32> {
        match self.0 >> 16 {
            0 => None,
            number => Some(number),
        }
    }

    /// Bits of the number that follows.
    #[inline]
    pub(super) fn size(self) -> u32 {
        (self.0 & 15) as u32
    }

    /// Neither number nor zeros, but the end of the block.
    #[inline]
    pub(super) fn is_end(self) -> bool {
        self.0 & !0x1f00 == 0
    }
}

/// Codes of the coefficients after the first.
pub(super) struct AcTable {
    /// By the next bits; length 0 stands for a longer code.
    lookup: [Found; 1 << LOOKUP],
    long: Long,
}

/// Bits of the largest coefficient that 8-bit pixels can have.
const MOST_AC_BITS: u8 = 10;

impl AcTable {
    pub(super) fn new(codes: Codes<'_>) -> Option<Self> {
        let mut lookup = [Found(0); 1 << LOOKUP];
        let long = build(&codes, |code, length, symbol| {
            let size = u32::from(symbol & 15);
            for next in beginnings(code, length) {
                let Some(entry) = lookup.get_mut(next) else { break };
                *entry = Found::new(length, symbol);
                if size > 0 && length + size <= LOOKUP {
                    let number = (next >> (LOOKUP - length - size) & ((1 << size) - 1)) as i32;
                    let value = if number >> (size - 1) == 0 { number + 1 - (1 << size) } else { number };
                    *entry = Found(value << 16 | Found::new(length + size, symbol & 0xf0).0);
                }
            }
        })?;
        // A run without a number is one of sixteen zeros, or the end.
        let is_known = |symbol: &u8| symbol & 15 <= MOST_AC_BITS && (symbol & 15 > 0 || matches!(symbol, 0 | 0xf0));
        codes.symbols.iter().all(is_known).then_some(Self { lookup, long })
    }

    /// The next one, its code taken.
    #[inline]
    pub(super) fn next(&self, bits: &mut Bits<'_>) -> Option<Found> {
        let mut found = self.lookup[bits.peek(LOOKUP)];
        if found.0 == 0 {
            let (length, symbol) = self.long.find(bits.peek(16) as u32)?;
            found = Found::new(length, symbol);
        }
        bits.take((found.0 >> 8 & 31) as u32);
        Some(found)
    }
}
