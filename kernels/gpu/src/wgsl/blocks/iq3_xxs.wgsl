#include "blocks/common.wgsl"
#include "blocks/codebook.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let first = 24u * block;
    let w = first + 2u * (at % 8u);
    // Four times 7 signs and 4 bits of scale.
    let rest = codes[first + 16u + at % 8u];
    let signs = even_signs(vec4<u32>(rest) >> vec4<u32>(0u, 7u, 14u, 21u));
    let d = half2(scales[block / 2u] >> (16u * (block % 2u))).x;
    let scale = d * (0.5 + f32(rest >> 28u)) * 0.5;
    return Unit(fours(spread(codes[w]), spread(codes[w + 1u]), signs), vec2<f32>(scale), vec2<f32>(0.0));
}
