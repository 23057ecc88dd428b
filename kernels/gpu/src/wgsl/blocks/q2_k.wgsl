#include "blocks/common.wgsl"
#include "blocks/pairs.wgsl"

fn unit(at: u32) -> Unit {
    let s = 5u * (at / 8u);
    let d = half2(scales[s]);
    // A byte for each 16 weights: multiples of d below, of dmin above.
    let both = vec2<u32>(scales[s + 1u + at % 8u / 2u] >> (16u * (at % 2u))) >> vec2<u32>(0u, 8u);
    let scale = d.x * vec2<f32>(both & vec2<u32>(15u));
    let min = d.y * vec2<f32>((both >> vec2<u32>(4u)) & vec2<u32>(15u));
    return Unit(pairs(vec2<u32>(codes[2u * at], codes[2u * at + 1u]), 0.0), scale, min);
}
