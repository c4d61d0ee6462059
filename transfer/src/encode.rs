//! An object's bytes, compressed alone: one zstd frame.

use std::io::{self, Read, Write};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::{CParameter, DParameter};

/// A decoder's window, and thereby its memory, is at most 2 to this.
const MOST_WINDOW: u32 = 23;

/// Writes the compressed bytes of `reader`, which gives `size` bytes, to `out`.
pub(crate) fn pack(
    reader: &mut impl Read,
    size: u64,
    level: i32,
    out: impl Write,
) -> io::Result<()> {
    let mut encoder = Encoder::new(out, level.min(19))?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.set_parameter(CParameter::ContentSizeFlag(true))?;
    if size > 1 << MOST_WINDOW {
        encoder.set_parameter(CParameter::WindowLog(MOST_WINDOW))?;
    }
    io::copy(reader, &mut encoder)?;
    encoder.finish()?.flush()
}

/// The plain bytes of what [`pack`] wrote; no more than `size` of them can be read.
pub(crate) fn unpack<'a>(packed: impl Read + 'a, size: u64) -> io::Result<impl Read + 'a> {
    let mut decoder = Decoder::new(packed)?;
    decoder.set_parameter(DParameter::WindowLogMax(MOST_WINDOW))?;
    Ok(decoder.take(size.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_a_bomb_ends_at_its_size() {
        let plain = vec![7_u8; 10 << 20];
        let mut packed = Vec::new();
        pack(&mut &plain[..], plain.len() as u64, 9, &mut packed).unwrap();
        let mut back = Vec::new();
        unpack(&packed[..], plain.len() as u64)
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == plain);
        back.clear();
        unpack(&packed[..], 1000)
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back.len(), 1001);
    }
}
