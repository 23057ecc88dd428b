#include "blocks/common.wgsl"
#include "blocks/codebook.wgsl"

fn unit(at: u32) -> Unit {
    // 9 bits of index and 7 signs, four times.
    let both = vec4<u32>(codes[2u * at], codes[2u * at] >> 16u, codes[2u * at + 1u], codes[2u * at + 1u] >> 16u);
    let signs = even_signs(both >> vec4<u32>(9u));
    let u = at % 8u;
    let s = 3u * (at / 8u);
    let multiples = (vec2<u32>(scales[s + 1u + u / 4u] >> (8u * (u % 4u))) >> vec2<u32>(0u, 4u)) & vec2<u32>(15u);
    let scale = half2(scales[s]).x * (0.5 + vec2<f32>(multiples)) * 0.25;
    return Unit(eights(both & vec4<u32>(511u), signs), scale, vec2<f32>(0.0));
}
