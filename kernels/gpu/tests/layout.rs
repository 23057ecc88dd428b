//! The layout of blocks, without a device: sizes, and any bytes whatever.

mod common;

use common::Rng;
use qwip_gpu::layout::{Layout, split};
use qwip_quant::TensorType;

#[test]
fn every_type_has_a_layout_of_about_its_size() {
    for ty in TensorType::ALL {
        assert_eq!(Layout::of(ty).is_some(), ty.is_decodable(), "{ty}");
        let Some(layout) = Layout::of(ty) else { continue };
        let blocks = 1024;
        let (file, here) =
            (blocks * ty.block_bytes(), layout.code_bytes(blocks) + layout.scale_bytes(blocks));
        assert!(10 * here <= 11 * file, "{ty}: {here} bytes for {file}");
        assert_eq!((layout.code_bytes(1) % 4, layout.scale_bytes(1) % 4), (0, 0), "{ty}");
    }
}

#[test]
fn a_run_is_split_as_in_a_longer_row_and_its_end_is_zero() {
    let mut rng = Rng(7);
    for ty in TensorType::ALL {
        let (Some(layout), bytes) = (Layout::of(ty), ty.block_bytes()) else { continue };
        let run = layout.run();
        let part = |blocks: &[u8]| {
            let count = blocks.len() / bytes;
            let mut codes = vec![0xee; layout.code_bytes(count)];
            let mut scales = vec![0xee; layout.scale_bytes(count)];
            split(ty, blocks, &mut codes, &mut scales);
            (codes, scales)
        };
        let blocks: Vec<u8> = (0..3 * run * bytes).map(|_| rng.bits() as u8).collect();
        let (codes, scales) = part(&blocks);
        let (first, rest) = (part(&blocks[..2 * run * bytes]), part(&blocks[2 * run * bytes..]));
        assert_eq!(codes, [first.0, rest.0].concat(), "{ty}");
        assert_eq!(scales, [first.1, rest.1].concat(), "{ty}");
        // In a run that is not full the rest is as if its blocks were all zero.
        let mut alone = vec![0; run * bytes];
        alone[..bytes].copy_from_slice(&blocks[..bytes]);
        assert_eq!(part(&blocks[..bytes]), part(&alone), "{ty}");
    }
}
