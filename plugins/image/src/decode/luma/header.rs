//! What stands before a scan.

use std::rc::Rc;

use super::huffman::{AcTable, Codes, DcTable};

/// Four of each, as the format numbers them.
#[derive(Default)]
struct Tables {
    dc: [Option<Rc<DcTable>>; 4],
    ac: [Option<Rc<AcTable>>; 4],
    /// Steps of quantisation, in the order in which coefficients come.
    steps: [Option<[u8; 64]>; 4],
}

/// An image of 8 bits that one scan holds, its brightness at full resolution.
pub(super) struct Frame<'d> {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Units of blocks in a row, and rows of them.
    pub(super) units_across: usize,
    pub(super) units_down: usize,
    /// Blocks of brightness in a unit.
    pub(super) across: usize,
    pub(super) down: usize,
    pub(super) luma: Coded,
    /// Steps of quantisation of the brightness, in the order in which coefficients come.
    pub(super) steps: [u8; 64],
    /// The two differences of colour, each with one block in a unit.
    pub(super) colors: [Coded; 2],
    /// From the first byte of the scan to the file's last.
    pub(super) entropy: &'d [u8],
}

/// How a component is coded: the first coefficient of its blocks, and the others.
pub(super) struct Coded {
    pub(super) dc: Rc<DcTable>,
    pub(super) ac: Rc<AcTable>,
}

/// A component as the frame's header has it.
#[derive(Clone, Copy)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    steps: usize,
}

/// None where it is another kind of JPEG, or broken.
pub(super) fn read(data: &[u8]) -> Option<Frame<'_>> {
    let mut rest = data.strip_prefix(&[0xff, 0xd8])?;
    let mut tables = Tables::default();
    let mut size = None;
    loop {
        let (&[0xff, marker, high, low], behind) = rest.split_first_chunk::<4>()? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(2)?;
        let (segment, behind) = behind.split_at_checked(length)?;
        rest = behind;
        match marker {
            0xdb => quantisation(segment, &mut tables)?,
            0xc4 => huffman(segment, &mut tables)?,
            // Baseline, once.
            0xc0 if size.is_none() => size = Some(frame(segment)?),
            0xda => return scan(segment, size?, &tables, rest),
            // Adobe's, with another transform of colours than YCbCr.
            0xee if !matches!(segment, [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, 1]) => return None,
            // The library reads this one, and may refuse it.
            0xe1 if segment.starts_with(b"http://ns.adobe.com/xmp/extension/") => return None,
            // Of applications, and comments.
            0xe0..=0xef | 0xfe => {}
            _ => return None,
        }
    }
}

fn quantisation(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((number, rest)) = segment.split_first() {
        // Numbers above 3 include those with 16 bits.
        let (steps, rest) = rest.split_first_chunk::<64>()?;
        *tables.steps.get_mut(usize::from(*number))? = Some(*steps);
        segment = rest;
    }
    Some(())
}

fn huffman(mut segment: &[u8], tables: &mut Tables) -> Option<()> {
    while let Some((kind, rest)) = segment.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>()?;
        let (symbols, rest) = rest.split_at_checked(counts.iter().copied().map(usize::from).sum())?;
        let (codes, number) = (Codes { counts, symbols }, usize::from(kind & 15));
        match kind >> 4 {
            0 => *tables.dc.get_mut(number)? = Some(Rc::new(DcTable::new(codes)?)),
            1 => *tables.ac.get_mut(number)? = Some(Rc::new(AcTable::new(codes)?)),
            _ => return None,
        }
        segment = rest;
    }
    Some(())
}

/// Width, height and components.
fn frame(segment: &[u8]) -> Option<(usize, usize, Vec<Component>)> {
    let (&[8, high, low, higher, lower, count], components) = segment.split_first_chunk::<6>()? else { return None };
    let (height, width) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([higher, lower]));
    let components: Vec<Component> = components
        .as_chunks::<3>()
        .0
        .iter()
        .map(|[id, sampling, steps]| Component {
            id: *id,
            across: usize::from(sampling >> 4),
            down: usize::from(sampling & 15),
            steps: usize::from(*steps),
        })
        .collect();
    let is_whole = components.len() == usize::from(count) && segment.len() == 6 + 3 * components.len();
    is_whole.then_some((usize::from(width), usize::from(height), components))
}

fn scan<'d>(segment: &[u8], (width, height, components): (usize, usize, Vec<Component>), tables: &Tables, entropy: &'d [u8]) -> Option<Frame<'d>> {
    // Brightness and two colours, by the numbers that nearly all encoders give them (red, green and blue have others).
    let [luma, blue, red] = components[..] else { return None };
    let &[3, first, of_luma, second, of_blue, third, of_red, 0, 63, 0] = segment else { return None };
    let is_usual = matches!([first, second, third], [0, 1, 2] | [1, 2, 3]) && [luma.id, blue.id, red.id] == [first, second, third];
    // The colours at the brightness's resolution, or at half of it. Halved only from row to row, the library reads on
    // behind the end, and may refuse what it finds there.
    let is_coarse = |color: Component| color.across == 1 && color.down == 1;
    if !is_usual || !matches!((luma.across, luma.down), (1, 1) | (2, 1 | 2)) || !is_coarse(blue) || !is_coarse(red) {
        return None;
    }
    let coded = |numbers: u8| {
        let (dc, ac) = (usize::from(numbers >> 4), usize::from(numbers & 15));
        Some(Coded { dc: Rc::clone(tables.dc.get(dc)?.as_ref()?), ac: Rc::clone(tables.ac.get(ac)?.as_ref()?) })
    };
    let steps = |component: Component| tables.steps.get(component.steps).copied().flatten();
    // Those of the colours are not used, but they must be there.
    steps(blue).and(steps(red))?;
    Some(Frame {
        width,
        height,
        units_across: width.div_ceil(luma.across * 8),
        units_down: height.div_ceil(luma.down * 8),
        across: luma.across,
        down: luma.down,
        luma: coded(of_luma)?,
        steps: steps(luma)?,
        colors: [coded(of_blue)?, coded(of_red)?],
        entropy,
    })
}
