//! From rows of pixels to the tensor.

use bulkhead_sdk::{Datatype, Error, Result, Tensor};

use crate::config::{Color, Dtype, Image, Layout};
use crate::decode::Source;
use crate::resample::{Target, resample};

/// The tensor of a decoded image.
pub(crate) fn of(config: &Image, source: Source) -> Result<Tensor> {
    let target = Target { width: config.width as usize, height: config.height as usize, gray: config.color == Color::Gray, filter: config.filter };
    let (datatype, data) = match config.dtype {
        Dtype::Fp32 => (Datatype::Fp32, elements(config, &source, target, &floats(config))),
        Dtype::Uint8 => (Datatype::Uint8, elements(config, &source, target, &bytes(config))),
    };
    Tensor::from_bytes(config.input.as_str(), datatype, &shape(config), data).map_err(|error| Error::internal(error.to_string()))
}

/// With a batch of one.
pub(crate) fn shape(config: &Image) -> [i64; 4] {
    let (width, height, channels) = (i64::from(config.width), i64::from(config.height), config.channels() as i64);
    match config.layout {
        Layout::Nchw => [1, channels, height, width],
        Layout::Nhwc => [1, height, width, channels],
    }
}

/// What each value of a pixel's channel becomes, as it is stored.
type Table<const N: usize> = [[u8; N]; 256];

fn floats(config: &Image) -> Vec<Table<4>> {
    let scale = config.scale.unwrap_or(1.0 / 255.0);
    let of = |channel| {
        let mean = config.mean.as_ref().map_or(0.0, |mean| mean.get(channel));
        let std = config.std.as_ref().map_or(1.0, |std| std.get(channel));
        std::array::from_fn(|value| (((value as f64 * scale - mean) / std) as f32).to_le_bytes())
    };
    (0..config.channels()).map(of).collect()
}

fn bytes(config: &Image) -> Vec<Table<1>> {
    vec![std::array::from_fn(|value| [value as u8]); config.channels()]
}

fn elements<const N: usize>(config: &Image, source: &Source, target: Target, tables: &[Table<N>]) -> Vec<u8> {
    let (plane, row) = (target.width * target.height, target.width);
    let mut data = vec![0; plane * tables.len() * N];
    let (out, _) = data.as_chunks_mut::<N>();
    match (config.layout, target.channels(source)) {
        (_, 1) if tables.len() == 1 => resample(source, target, |y, pixels| look_up::<N, 1>(&mut out[y * row..][..row], pixels, 0, &tables[0])),
        (Layout::Nchw, from) => resample(source, target, |y, pixels| {
            for (channel, table) in tables.iter().enumerate() {
                let out = &mut out[channel * plane + y * row..][..row];
                // A gray image in colours has the same pixels in all channels.
                if from == 1 { look_up::<N, 1>(out, pixels, 0, table) } else { look_up::<N, 3>(out, pixels, channel, table) }
            }
        }),
        (Layout::Nhwc, from) => resample(source, target, |y, pixels| {
            let out = &mut out[y * row * tables.len()..][..row * tables.len()];
            for (out, pixel) in out.chunks_exact_mut(tables.len()).zip(pixels.chunks_exact(from)) {
                for (channel, (out, table)) in out.iter_mut().zip(tables).enumerate() {
                    *out = table[usize::from(pixel[channel.min(from - 1)])];
                }
            }
        }),
    }
    data
}

/// One channel of a row of pixels of `FROM` channels.
fn look_up<const N: usize, const FROM: usize>(out: &mut [[u8; N]], pixels: &[u8], channel: usize, table: &Table<N>) {
    for (out, pixel) in out.iter_mut().zip(pixels.as_chunks::<FROM>().0) {
        *out = table[usize::from(pixel[channel])];
    }
}
