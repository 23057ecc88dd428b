#include "blocks/common.wgsl"
#include "blocks/codebook.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let u = at % 8u;
    let first = 16u * block;
    let s = 5u * block;
    // A byte with the upper bits of four indices, a byte with two scales.
    let rest = scales[s + 1u + u / 2u] >> (16u * (u % 2u));
    let upper = (vec4<u32>(rest) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
    let index = spread(codes[first + u]) | (upper << vec4<u32>(8u));
    let multiples = (vec2<u32>(rest) >> vec2<u32>(8u, 12u)) & vec2<u32>(15u);
    let scale = half2(scales[s]).x * (0.5 + vec2<f32>(multiples)) * 0.25;
    return Unit(eights(index, codes[first + 8u + u]), scale, vec2<f32>(0.0));
}
