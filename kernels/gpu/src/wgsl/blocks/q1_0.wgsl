#include "blocks/common.wgsl"

// A bit is -1 or 1.
fn one(bits: vec4<u32>) -> vec4<f32> {
    return 2.0 * number(bits, 0.0) - 1.0;
}

fn unit(at: u32) -> Unit {
    let w = codes[at];
    let c = array<vec4<f32>, 8>(
        one(pick(w, 1u)), one(pick(w >> 16u, 1u)), one(pick(w >> 1u, 1u)), one(pick(w >> 17u, 1u)),
        one(pick(w >> 2u, 1u)), one(pick(w >> 18u, 1u)), one(pick(w >> 3u, 1u)), one(pick(w >> 19u, 1u)),
    );
    let block = at / 4u;
    let d = half2(scales[block / 2u] >> (16u * (block % 2u))).x;
    return Unit(c, vec2<f32>(d), vec2<f32>(0.0));
}
