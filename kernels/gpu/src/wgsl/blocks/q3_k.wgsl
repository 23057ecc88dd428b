#include "blocks/common.wgsl"

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let first = 24u * block;
    let w = vec2<u32>(codes[first + 2u * (at % 8u)], codes[first + 2u * (at % 8u) + 1u]);
    let high = codes[first + 16u + at % 8u];
    let c = array<vec4<f32>, 8>(
        number(pick(w.x, 3u) | pick(high << 2u, 4u), 4.0),
        number(pick(w.x >> 16u, 3u) | pick(high >> 14u, 4u), 4.0),
        number(pick(w.x >> 2u, 3u) | pick(high << 1u, 4u), 4.0),
        number(pick(w.x >> 18u, 3u) | pick(high >> 15u, 4u), 4.0),
        number(pick(w.y, 3u) | pick(high, 4u), 4.0),
        number(pick(w.y >> 16u, 3u) | pick(high >> 16u, 4u), 4.0),
        number(pick(w.y >> 2u, 3u) | pick(high >> 1u, 4u), 4.0),
        number(pick(w.y >> 18u, 3u) | pick(high >> 17u, 4u), 4.0),
    );
    let s = 5u * block;
    let scale = half2(scales[s]).x * signed2(scales[s + 1u + at % 8u / 2u], 16u * (at % 2u));
    return Unit(c, scale, vec2<f32>(0.0));
}
