#include "blocks/common.wgsl"
#include "blocks/ternary.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let u = at % 8u;
    let first = 12u * block;
    // For each index its upper 3 bits and the sign of the eighth.
    let rest = vec4<u32>(codes[first + 8u + u / 2u] >> (16u * (u % 2u))) >> vec4<u32>(0u, 4u, 8u, 12u);
    let index = spread(codes[first + u]) | ((rest & vec4<u32>(7u)) << vec4<u32>(8u));
    let s = 3u * block;
    let multiples = (vec2<u32>(scales[s + 1u + u / 4u] >> (8u * (u % 4u))) >> vec2<u32>(0u, 3u)) & vec2<u32>(7u);
    let scale = half2(scales[s]).x * vec2<f32>(1u + 2u * multiples) * 0.125;
    return Unit(ternary(index, (rest & vec4<u32>(8u)) != vec4<u32>(0u)), scale, vec2<f32>(0.0));
}
