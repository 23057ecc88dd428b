#include "blocks/common.wgsl"
#include "blocks/codebook.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let u = at % 8u;
    let first = 24u * block;
    let w = first + 2u * u;
    let s = 5u * block;
    // A byte with the ninth bits of eight indices, a byte with the scale.
    let rest = scales[s + 1u + u / 2u] >> (16u * (u % 2u));
    let ninth = (vec4<u32>(rest) << vec4<u32>(8u, 7u, 6u, 5u)) & vec4<u32>(256u);
    let last = (vec4<u32>(rest) << vec4<u32>(4u, 3u, 2u, 1u)) & vec4<u32>(256u);
    let signs = codes[first + 16u + u];
    let scale = half2(scales[s]).x * f32(1u + 2u * ((rest >> 8u) & 15u));
    let c = fours(spread(codes[w]) | ninth, spread(codes[w + 1u]) | last, signs);
    return Unit(c, vec2<f32>(scale), vec2<f32>(0.0));
}
