// What the files of the block types share. Each of them has `fn unit(at: u32) -> Unit`: 32 weights in a row of blocks.
#include "half.wgsl"

// Weight i is scale[i / 16] * code i - min[i / 16].
struct Unit {
    codes: array<vec4<f32>, 8>,
    scale: vec2<f32>,
    min: vec2<f32>,
}

// Codes become floats without a conversion, which many devices do at a quarter of their speed or less: where the bits are,
// they are the last bits of a float between two powers of two, and the difference to the lower one is the code.

// Four neighbours of a plane of bits, whose places are 0, 4, 8 and 12.
fn pick(word: u32, mask: u32) -> vec4<u32> {
    return vec4<u32>(word) & (vec4<u32>(1u, 16u, 256u, 4096u) * mask);
}

// Such bits, at most eight of each, as numbers less `zero`.
fn number(bits: vec4<u32>, zero: f32) -> vec4<f32> {
    let base = vec4<u32>(0x4b000000u, 0x49000000u, 0x47000000u, 0x45000000u);
    return bitcast<vec4<f32>>(bits | base) - (vec4<f32>(8388608.0, 524288.0, 32768.0, 2048.0) + zero);
}

// The four bytes of a word, less `zero`.
fn bytes(word: u32, zero: f32) -> vec4<f32> {
    let bits = vec4<u32>(word, word, word >> 16u, word >> 16u) & vec4<u32>(0xffu, 0xff00u, 0xffu, 0xff00u);
    let base = vec4<u32>(0x4b000000u, 0x47000000u, 0x4b000000u, 0x47000000u);
    return bitcast<vec4<f32>>(bits | base) - (vec4<f32>(8388608.0, 32768.0, 8388608.0, 32768.0) + zero);
}

// The bytes of a word.
fn spread(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

// Two signed bytes of a word, from bit `shift` up.
fn signed2(word: u32, shift: u32) -> vec2<f32> {
    let low = bitcast<vec2<i32>>(vec2<u32>(word) << (vec2<u32>(24u, 16u) - shift));
    return vec2<f32>(low >> vec2<u32>(24u));
}

// 32 codes of 4 bits.
fn nibbles(w: vec4<u32>, zero: f32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        number(pick(w.x, 15u), zero), number(pick(w.x >> 16u, 15u), zero),
        number(pick(w.y, 15u), zero), number(pick(w.y >> 16u, 15u), zero),
        number(pick(w.z, 15u), zero), number(pick(w.z >> 16u, 15u), zero),
        number(pick(w.w, 15u), zero), number(pick(w.w >> 16u, 15u), zero),
    );
}
