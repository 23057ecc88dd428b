#include "blocks/common.wgsl"
#include "blocks/ternary.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let u = at % 8u;
    let first = 12u * block;
    // Four times 3 bits of the indices, 3 bits of scale, and the sign of the eighth.
    let rest = codes[first + 8u + u / 2u] >> (16u * (u % 2u));
    let upper = (vec4<u32>(rest) >> vec4<u32>(0u, 3u, 6u, 9u)) & vec4<u32>(7u);
    let index = spread(codes[first + u]) | (upper << vec4<u32>(8u));
    let d = half2(scales[block / 2u] >> (16u * (block % 2u))).x;
    let scale = d * f32(1u + 2u * ((rest >> 12u) & 7u)) * 0.125;
    return Unit(ternary(index, vec4<bool>((rest & 0x8000u) != 0u)), vec2<f32>(scale), vec2<f32>(0.0));
}
