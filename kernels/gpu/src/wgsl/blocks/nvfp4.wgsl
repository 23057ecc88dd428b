#include "blocks/common.wgsl"
#include "blocks/table.wgsl"

// Twice 0 0.5 1 1.5 2 3 4 6 and the same with a minus.
const TABLE = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);

// Half of what a float of 8 bits (E4M3) stands for, as the table has doubles; the one that is no number is zero.
fn half_scale(bits: u32) -> f32 {
    let exponent = (bits >> 3u) & 15u;
    let eighths = (bits & 7u) + select(8u, 0u, exponent == 0u);
    let value = f32(eighths) * bitcast<f32>((max(exponent, 1u) + 116u) << 23u);
    return select(value, 0.0, bits == 0x7fu);
}

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    let s = scales[at / 2u] >> (16u * (at % 2u));
    let scale = vec2<f32>(half_scale(s & 255u), half_scale((s >> 8u) & 255u));
    return Unit(from_table(words, TABLE), scale, vec2<f32>(0.0));
}
