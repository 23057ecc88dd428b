//! Blocks and values whose counterparts are known from other programs.

use super::tests::half_fields;
use super::*;
use TensorType::*;

/// First four values, the one in the middle, the last, the sum and the sum of squares of the block whose byte i is
/// (37 i + 11) mod 256, with the first half float set to 1/16, the second to 1/32, the exponent of MXFP4 to 120 and the
/// scales of NVFP4 to 1/2, 9/32, 1 and 7/1024.
#[rustfmt::skip]
const GOLDEN: [(TensorType, [f64; 8]); 18] = [
    (Q4_0, [-0.1875, 0.125, 0.4375, -0.25, -0.1875, 0.0, -1.3125, 2.51953]),
    (Q4_1, [0.96875, 0.28125, 0.59375, 0.90625, 0.59375, 0.78125, 16.3125, 10.85938]),
    (Q5_0, [0.5625, -0.125, 0.1875, -0.5, 0.875, 0.0625, 0.9375, 10.26172]),
    (Q5_1, [1.21875, 1.53125, 1.84375, 1.15625, 1.21875, 0.34375, 32.5625, 44.13281]),
    (Q8_0, [5.3125, 7.625, -6.0625, -3.75, -5.6875, -3.0, -11.0, 743.1875]),
    (Q2K, [2.0625, 0.0, 0.6875, 1.375, 0.46875, 0.28125, 128.6875, 212.79688]),
    (Q3K, [5.0625, -6.75, 1.6875, -3.375, 0.125, 2.625, 59.875, 2221.50781]),
    (Q4K, [19.71875, -1.59375, 8.09375, 17.78125, 26.4375, 3.03125, 3402.5, 94395.39062]),
    (Q5K, [50.71875, -1.59375, 39.09375, 17.78125, 65.4375, 6.78125, 7263.5, 401675.07812]),
    (Q6K, [-89.4375, 106.0, 36.4375, -33.125, -21.9375, -3.75, 288.25, 1851172.89062]),
    (Iq4Nl, [-2.1875, 1.5625, 7.0625, -3.0625, -2.1875, 0.0625, -16.0625, 524.58203]),
    (Iq4Xs, [4.0625, -0.0625, -4.3125, 5.1875, -36.5625, -1.0, -687.8125, 949184.98828]),
    (Mxfp4, [0.0, 0.0234375, -0.0078125, -0.046875, 0.01171875, 0.0234375, 0.09765625, 0.01735]),
    (Nvfp4, [-6.0, 2.0, -0.5, -4.0, -12.0, 0.0068359375, -37.1123046875, 718.24756]),
    (Tq1_0, [-0.0625, -0.0625, -0.0625, 0.0, 0.0, -0.0625, -0.125, 0.67969]),
    (Tq2_0, [0.125, -0.0625, 0.0, 0.0625, 0.125, -0.0625, 8.0625, 1.51953]),
    (Q1_0, [0.0625, -0.0625, 0.0625, -0.0625, 0.0625, 0.0625, 0.0, 0.5]),
    (Q2_0, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0625, 1.875, 0.36719]),
];

#[test]
fn golden_blocks_decode() {
    for (ty, golden) in GOLDEN {
        let mut block: Vec<u8> = (0..ty.block_bytes()).map(|i| ((37 * i + 11) % 256) as u8).collect();
        for (&at, bits) in half_fields(ty).iter().zip([0x2C00u16, 0x2800]) {
            block[at..at + 2].copy_from_slice(&bits.to_le_bytes());
        }
        match ty {
            Mxfp4 => block[0] = 120,
            Nvfp4 => block[..4].copy_from_slice(&[0x38, 0x31, 0x40, 0x07]),
            _ => {}
        }
        let mut out = vec![0.0; ty.block_len()];
        decode_row(ty, &block, &mut out).unwrap();
        let wide: Vec<f64> = out.iter().map(|&x| f64::from(x)).collect();
        let n = wide.len();
        let exact = [wide[0], wide[1], wide[2], wide[3], wide[n / 2], wide[n - 1]];
        assert_eq!(exact, golden[..6], "{ty}");
        assert!((wide.iter().sum::<f64>() - golden[6]).abs() < 1e-9, "{ty}: sum");
        // The table gives five decimals.
        assert!((wide.iter().map(|x| x * x).sum::<f64>() - golden[7]).abs() < 6e-6, "{ty}: sum of squares");
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn golden_values_encode() {
    let x: Vec<f32> = (0..32).map(|i| (((29 * i + 7) % 64) as f32 - 31.0) / 16.0).collect();
    for (ty, hex) in [
        (Q4_0, "00b4 ae37cf48d16af37b049d26ae37cf59d1"),
        (Q4_1, "3334 c0bf 52c940b73ea61d84fb73ea51c840b72e"),
        (Q5_0, "00b0 ad6a55aa 4c6e7f91a2c4d5f7082a3b5d6e8f91b3"),
        (Q5_1, "1130 c0bf 5295aa55 b3a2807f5d4c2a19f7e6c4b391806e5d"),
        (Q8_0, "0824 a11489fc6fe457cc40b5289d1085f86be053c83cb124990c7ff467dc4fc438ad"),
        (Mxfp4, "7e ad51be40c52ad51b649c52ad41ce30d5"),
    ] {
        let mut out = vec![0; ty.block_bytes()];
        encode_row(ty, &x, &mut out).unwrap();
        assert_eq!(out, from_hex(hex), "{ty}");
    }
}

/// What the reference quantizers make of the values in the test below: see tests/reference_blocks.py.
#[rustfmt::skip]
const REFERENCE_BLOCKS: [(TensorType, &str); 12] = [
    (
        TensorType::Q2K,
        "00bc44ce9922dd4600bb34ff7822de7798543468a47094dc6848bc38d83c7400226ae785f9710336be381a5edbb9 \
         dc155088543468e4b0a42cb89cc04c6c50d8a988c09d7ca72cfe216937164ddaa9dcbc375b3a",
    ),
    (
        TensorType::Q3K,
        "68c266240ea6aaa84e80cce4ca0466c2abedc3e7a0db2fbb017a1d5d65f0a4ee68b4648c48fc38b800cc607ce038 \
         f85ce94d27741e08bf99ea80ce611faf5596d86c9454f8f448b000a864f824b4dcd87379f52f2c4b7dc933c02e2c \
         bfe1b2d9008a980f2e44633de288224be2ae",
    ),
    (
        TensorType::Q4K,
        "da26c832a9f9a4f4aaf163f5ccffd122886868885858688878789878788868582a9a4f4795270f3bcc809bfa9e85 \
         d254b3351c48b87d87d578609d1ef40f6e125978c8b6c9896769996a5877c7a9b7677898787898787888a8989878 \
         a8a8689896b121e6f04fe1d906875d77d78b84c164b2452d59e9afb908ccb3f0724974e49896c586789757c94777 \
         484665b6a8b6",
    ),
    (
        TensorType::Q5K,
        "7322ac32acfca4f6aaf265f8fdffd3341bb115757dd5d9fb75f1bf95397715b1a5a78da86e9c21f50f26571b2fbe \
         aea400c0c0f0b0a0c000e0e020e0e000b0a034238d8e394f0f76870026f43c1ba498778c3b8181fc0fcbf2c04b3e \
         f80fee35a3f1937ea404cfd433d5c10f906380d0e121f10131f1e101513141e14141d1212d7343eef08fe3b40c1f \
         bce0cf1808a3c874894ab1c34f72008867f0f493e8e82f2b8a1cf03eae817eee808cda7b4f7d",
    ),
    (
        TensorType::Q6K,
        "e06020001050b0502010308000b0909028d73bac725d4e9cff103d18b8056880a3ea5af5c4cee14dcf7b516ba00e \
         a26fb3983bbb0732390d9e1d586137fa8ae8a02080a0a0701080d0e0d0902070b0b07855e61af00ac625b7fce40e \
         dc4c5fa573c50886608b81d301ffc9e4d527caa3637db939cb9098b31192452b3561d06284183824ac7c5cd06444 \
         b034d8307c0cde961b39058dffca42c4e6b2271520a96cb4680854d88c981080a0fc70506ce499b8f0bd4ca71cce \
         115907357dfa98ec00ae1f7fb711933600a5228048109dc8d99a",
    ),
    (
        TensorType::Iq4Nl,
        "6a2cb8a8f8684878f8c8c808c8b8e8581838f9aed759b9b75adae9c638775508586629aa3d2b92859d68a8ae66a4 \
         98a08e6f739f7f71ca2d4b63c1b3dc76575e96555a71cfb0c661d52c5818186808f818a85868e87868c83818592e \
         96c917f7f937f6e80b8a4a66ea8a85d9f6ab7b9daa927685806587837c9ead957b9b4c2d959cd38175ae4bcc307c \
         3c3f57c4a6cf",
    ),
    (
        TensorType::Iq4Xs,
        "f91af3cf04b1d68eb8a8f8684878f8c8c808c8b8e8481838d759b9b75adae9c638775508586629aa92859d68a8ae \
         66a498a08e6f739f7f714b63c1b3dc76575d96555a71cfb0c6615818186808f818a85868e87868c8381896c917f7 \
         f937f6e80b8a4a66ea8a85d97b9daa927685806587837c9ead957b9b959cd38174ae4bdc306c3c3f57c4a6cf",
    ),
    (
        TensorType::Tq1_0,
        "80807d80808080838076807d837d807d647fd4807f65b8809c2b809c80809c7f8080649b9c65a69c628080819c80 \
         809d7f7f7f7fac4a",
    ),
    (
        TensorType::Tq2_0,
        "55551555555555955545551595155515515556555551525559545559555559555555551555956555155555955555 \
         559555545059585258595155555559555558ac4a",
    ),
    (
        TensorType::Nvfp4,
        "003c3141000000000000000053f2463a6dc9e7d4042c7c240e5fddf55e133c7c332d6ebc3a2940371efc6560d076 \
         6aec557195dfc757beb694bd2eed64faa9e63fdbe7a677596edd003d31410000000000000000bbae6e9aaf46def2 \
         7e546beb757cfd59f114cea6670d06563a293e371c5ecbe6d233c7c3230e5fddf5e042c7fb544d7e9cd6a364f2b3 \
         f7f1d9645e67",
    ),
    (
        TensorType::Q1_0,
        "4742ffffc71d893f127f346db72391141c716342ffffa02412b7dbb2f823f147e28eafe0",
    ),
    (
        TensorType::Q2_0,
        "9e4a55555555656551555555555554419665d04955559169555555550195151255555555ac4a5555555541485515 \
         5555555585a254964c4995651555555555550559949555551455",
    ),
];

#[test]
fn searches_choose_what_the_reference_quantizers_do() {
    let x: Vec<f32> = (0..256i32)
        .map(|i| (((i * i * 37 + 29 * i + 7) % 251 - 125) * ((i / 16 * 5) % 8)) as f32 / 64.0)
        .collect();
    for (ty, hex) in REFERENCE_BLOCKS {
        let mut out = vec![0; ty.row_bytes(256).unwrap()];
        encode_row(ty, &x, &mut out).unwrap();
        assert_eq!(out, from_hex(hex), "{ty}");
    }
}
