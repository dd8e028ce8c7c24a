//! Vectors of 128 bits: those of WebAssembly there, and arrays that stand for them elsewhere, where tests run.

/// Whether they are more than stand-ins.
pub(crate) const ARE_THERE: bool = cfg!(all(target_arch = "wasm32", target_feature = "simd128"));

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use std::arch::wasm32::{
        i8x16_shuffle, i16x8, i16x8_all_true, i16x8_max, i16x8_narrow_i32x4, i16x8_ne, i16x8_shr, i16x8_shuffle, i16x8_splat, i32x4, i32x4_add,
        i32x4_dot_i16x8, i32x4_extract_lane, i32x4_mul, i32x4_shl, i32x4_shr, i32x4_shuffle, i32x4_splat, i32x4_sub, u8x16_narrow_i16x8,
        u16x8_extend_low_u8x16, u32x4_extend_low_u16x8, u64x2, u64x2_extract_lane, v128, v128_xor,
    };

    /// Eight numbers of 16 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Words(v128);

    /// Four numbers of 32 bits; sums wrap.
    #[derive(Clone, Copy)]
    pub(crate) struct Quad(v128);

    impl Words {
        #[inline]
        pub(crate) fn of([a, b, c, d, e, f, g, h]: [i16; 8]) -> Self {
            Self(i16x8(a, b, c, d, e, f, g, h))
        }

        #[inline]
        pub(crate) fn of_bytes(bytes: [u8; 8]) -> Self {
            Self(u16x8_extend_low_u8x16(u64x2(u64::from_le_bytes(bytes), 0)))
        }

        /// The first four of both in turn, and the last four.
        #[inline]
        pub(crate) fn interleaved(self, other: Self) -> [Self; 2] {
            [Self(i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(self.0, other.0)), Self(i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(self.0, other.0))]
        }

        /// The products of the numbers at each place, those of two neighbours added.
        #[inline]
        pub(crate) fn dot(self, other: Self) -> Quad {
            Quad(i32x4_dot_i16x8(self.0, other.0))
        }

        /// Two vectors of 32 bits, each number cut to what 16 hold.
        #[inline]
        pub(crate) fn narrowed(first: Quad, last: Quad) -> Self {
            Self(i16x8_narrow_i32x4(first.0, last.0))
        }

        /// Whether one of the numbers is the least or the greatest there is, as what was cut is.
        #[inline]
        pub(crate) fn has_extreme(all: [Self; 8]) -> bool {
            // Those that are not negative stay, and the others turn into those from zero on: the least into the greatest.
            let [a, b, c, d, e, f, g, h] = all.map(|words| v128_xor(words.0, i16x8_shr(words.0, 15)));
            let greatest = i16x8_max(i16x8_max(i16x8_max(a, b), i16x8_max(c, d)), i16x8_max(i16x8_max(e, f), i16x8_max(g, h)));
            !i16x8_all_true(i16x8_ne(greatest, i16x8_splat(i16::MAX)))
        }

        /// Rows for columns.
        #[inline]
        pub(crate) fn transposed([a, b, c, d, e, f, g, h]: [Self; 8]) -> [Self; 8] {
            // Three times each row is interleaved with the one four further on.
            let step = |[a, b, c, d, e, f, g, h]: [Self; 8]| {
                let ([a, b], [c, d], [e, f], [g, h]) = (a.interleaved(e), b.interleaved(f), c.interleaved(g), d.interleaved(h));
                [a, b, c, d, e, f, g, h]
            };
            step(step(step([a, b, c, d, e, f, g, h])))
        }

        /// The rows of eight columns, each number cut to what a byte holds.
        #[inline]
        pub(crate) fn rows_of_bytes([a, b, c, d, e, f, g, h]: [Self; 8]) -> [[u8; 8]; 8] {
            // Two columns in turn.
            let pair = |first: Self, second: Self| {
                let pair = u8x16_narrow_i16x8(first.0, second.0);
                Self(i8x16_shuffle::<0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15>(pair, pair))
            };
            // Four columns in turn, of the upper rows and of the lower ones.
            let (left, right) = (pair(a, b).interleaved(pair(c, d)), pair(e, f).interleaved(pair(g, h)));
            // Two rows.
            let two = |left: Self, right: Self| {
                let both = [i32x4_shuffle::<0, 4, 1, 5>(left.0, right.0), i32x4_shuffle::<2, 6, 3, 7>(left.0, right.0)];
                both.map(|rows| [u64x2_extract_lane::<0>(rows).to_le_bytes(), u64x2_extract_lane::<1>(rows).to_le_bytes()])
            };
            let ([[a, b], [c, d]], [[e, f], [g, h]]) = (two(left[0], right[0]), two(left[1], right[1]));
            [a, b, c, d, e, f, g, h]
        }
    }

    impl Quad {
        #[inline]
        pub(crate) fn splat(value: i32) -> Self {
            Self(i32x4_splat(value))
        }

        #[inline]
        pub(crate) fn of_bytes(bytes: [u8; 4]) -> Self {
            let bytes = i32x4(i32::from_le_bytes(bytes), 0, 0, 0);
            Self(u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes)))
        }

        #[inline]
        pub(crate) fn times(self, factor: i32) -> Self {
            Self(i32x4_mul(self.0, i32x4_splat(factor)))
        }

        /// Each number cut to what a byte holds.
        #[inline]
        pub(crate) fn bytes(self) -> [u8; 4] {
            let words = i16x8_narrow_i32x4(self.0, self.0);
            i32x4_extract_lane::<0>(u8x16_narrow_i16x8(words, words)).to_le_bytes()
        }

        #[inline]
        pub(crate) fn sum(self) -> i32 {
            let pairs = i32x4_add(self.0, i32x4_shuffle::<2, 3, 0, 1>(self.0, self.0));
            i32x4_extract_lane::<0>(i32x4_add(pairs, i32x4_shuffle::<1, 0, 3, 2>(pairs, pairs)))
        }

        #[inline]
        pub(super) fn plus(self, other: Self) -> Self {
            Self(i32x4_add(self.0, other.0))
        }

        #[inline]
        pub(super) fn minus(self, other: Self) -> Self {
            Self(i32x4_sub(self.0, other.0))
        }

        #[inline]
        pub(super) fn shifted_up(self, bits: u32) -> Self {
            Self(i32x4_shl(self.0, bits))
        }

        #[inline]
        pub(super) fn shifted_down(self, bits: u32) -> Self {
            Self(i32x4_shr(self.0, bits))
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    use std::array::from_fn;

    /// Eight numbers of 16 bits.
    #[derive(Clone, Copy)]
    pub(crate) struct Words([i16; 8]);

    /// Four numbers of 32 bits; sums wrap.
    #[derive(Clone, Copy)]
    pub(crate) struct Quad([i32; 4]);

    impl Words {
        pub(crate) fn of(words: [i16; 8]) -> Self {
            Self(words)
        }

        pub(crate) fn of_bytes(bytes: [u8; 8]) -> Self {
            Self(bytes.map(i16::from))
        }

        /// The first four of both in turn, and the last four.
        pub(crate) fn interleaved(self, other: Self) -> [Self; 2] {
            from_fn(|half| Self(from_fn(|at| if at % 2 == 0 { self.0[half * 4 + at / 2] } else { other.0[half * 4 + at / 2] })))
        }

        /// The products of the numbers at each place, those of two neighbours added.
        pub(crate) fn dot(self, other: Self) -> Quad {
            let product = |at: usize| i32::from(self.0[at]) * i32::from(other.0[at]);
            Quad(from_fn(|lane| product(2 * lane).wrapping_add(product(2 * lane + 1))))
        }

        /// Two vectors of 32 bits, each number cut to what 16 hold.
        pub(crate) fn narrowed(first: Quad, last: Quad) -> Self {
            let cut = |number: i32| number.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            Self(from_fn(|at| cut(if at < 4 { first.0[at] } else { last.0[at - 4] })))
        }

        /// Whether one of the numbers is the least or the greatest there is, as what was cut is.
        pub(crate) fn has_extreme(all: [Self; 8]) -> bool {
            all.iter().any(|words| words.0.contains(&i16::MIN) || words.0.contains(&i16::MAX))
        }

        /// Rows for columns.
        pub(crate) fn transposed(rows: [Self; 8]) -> [Self; 8] {
            from_fn(|column| Self(from_fn(|row| rows[row].0[column])))
        }

        /// The rows of eight columns, each number cut to what a byte holds.
        pub(crate) fn rows_of_bytes(columns: [Self; 8]) -> [[u8; 8]; 8] {
            from_fn(|row| from_fn(|column| columns[column].0[row].clamp(0, 255) as u8))
        }
    }

    impl Quad {
        pub(crate) fn splat(value: i32) -> Self {
            Self([value; 4])
        }

        pub(crate) fn of_bytes(bytes: [u8; 4]) -> Self {
            Self(bytes.map(i32::from))
        }

        pub(crate) fn times(self, factor: i32) -> Self {
            Self(self.0.map(|number| number.wrapping_mul(factor)))
        }

        /// Each number cut to what a byte holds.
        pub(crate) fn bytes(self) -> [u8; 4] {
            self.0.map(|number| number.clamp(0, 255) as u8)
        }

        pub(crate) fn sum(self) -> i32 {
            self.0.into_iter().fold(0, i32::wrapping_add)
        }

        pub(super) fn plus(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
        }

        pub(super) fn minus(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane].wrapping_sub(other.0[lane])))
        }

        pub(super) fn shifted_up(self, bits: u32) -> Self {
            Self(self.0.map(|number| number << bits))
        }

        pub(super) fn shifted_down(self, bits: u32) -> Self {
            Self(self.0.map(|number| number >> bits))
        }
    }
}

pub(crate) use imp::{Quad, Words};

impl std::ops::Add for Quad {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        self.plus(other)
    }
}

impl std::ops::Sub for Quad {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        self.minus(other)
    }
}

impl std::ops::Shl<u32> for Quad {
    type Output = Self;

    #[inline]
    fn shl(self, bits: u32) -> Self {
        self.shifted_up(bits)
    }
}

impl std::ops::Shr<u32> for Quad {
    type Output = Self;

    #[inline]
    fn shr(self, bits: u32) -> Self {
        self.shifted_down(bits)
    }
}
