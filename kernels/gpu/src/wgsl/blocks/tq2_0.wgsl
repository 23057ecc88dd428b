#include "blocks/common.wgsl"
#include "blocks/pairs.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let d = half2(scales[block / 2u] >> (16u * (block % 2u))).x;
    return Unit(pairs(vec2<u32>(codes[2u * at], codes[2u * at + 1u]), 1.0), vec2<f32>(d), vec2<f32>(0.0));
}
