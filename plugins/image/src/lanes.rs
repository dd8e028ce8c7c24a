//! Four sums side by side, in a vector register where there are any.
//!
//! Left to itself the compiler drops the lane that three channels leave unused, and then loads bytes one by one.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use std::arch::wasm32::{
        i16x8_narrow_i32x4, i32x4, i32x4_add, i32x4_extract_lane, i32x4_mul, i32x4_shr, i32x4_splat, u8x16_narrow_i16x8, u16x8_extend_low_u8x16,
        u32x4_extend_low_u16x8, v128,
    };

    #[derive(Clone, Copy)]
    pub(crate) struct Lanes(v128);

    impl Lanes {
        pub(crate) fn splat(value: i32) -> Self {
            Self(i32x4_splat(value))
        }

        /// Adds each byte of a pixel times its weight.
        pub(crate) fn add(&mut self, pixel: [u8; 4], weight: i32) {
            let bytes = i32x4(i32::from_le_bytes(pixel), 0, 0, 0);
            let wide = u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes));
            self.0 = i32x4_add(self.0, i32x4_mul(wide, i32x4_splat(weight)));
        }

        /// The first three sums less so many bits, cut to what a byte holds.
        pub(crate) fn three(self, bits: u32) -> [u8; 3] {
            let sums = i32x4_shr(self.0, bits);
            let words = i16x8_narrow_i32x4(sums, sums);
            let [first, second, third, _] = i32x4_extract_lane::<0>(u8x16_narrow_i16x8(words, words)).to_le_bytes();
            [first, second, third]
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    #[derive(Clone, Copy)]
    pub(crate) struct Lanes([i32; 4]);

    impl Lanes {
        pub(crate) fn splat(value: i32) -> Self {
            Self([value; 4])
        }

        /// Adds each byte of a pixel times its weight.
        pub(crate) fn add(&mut self, pixel: [u8; 4], weight: i32) {
            for (sum, byte) in self.0.iter_mut().zip(pixel) {
                *sum += i32::from(byte) * weight;
            }
        }

        /// The first three sums less so many bits, cut to what a byte holds.
        pub(crate) fn three(self, bits: u32) -> [u8; 3] {
            std::array::from_fn(|lane| (self.0[lane] >> bits).clamp(0, 255) as u8)
        }
    }
}

pub(crate) use imp::Lanes;
