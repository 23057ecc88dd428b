#include "blocks/common.wgsl"

fn unit(at: u32) -> Unit {
    let first = 48u * (at / 8u);
    let low = first + 4u * (at % 8u);
    let high = first + 32u + 2u * (at % 8u);
    let w = vec4<u32>(codes[low], codes[low + 1u], codes[low + 2u], codes[low + 3u]);
    let h = vec2<u32>(codes[high], codes[high + 1u]);
    let c = array<vec4<f32>, 8>(
        number(pick(w.x, 15u) | pick(h.x << 4u, 48u), 32.0),
        number(pick(w.x >> 16u, 15u) | pick(h.x >> 12u, 48u), 32.0),
        number(pick(w.y, 15u) | pick(h.x << 2u, 48u), 32.0),
        number(pick(w.y >> 16u, 15u) | pick(h.x >> 14u, 48u), 32.0),
        number(pick(w.z, 15u) | pick(h.y << 4u, 48u), 32.0),
        number(pick(w.z >> 16u, 15u) | pick(h.y >> 12u, 48u), 32.0),
        number(pick(w.w, 15u) | pick(h.y << 2u, 48u), 32.0),
        number(pick(w.w >> 16u, 15u) | pick(h.y >> 14u, 48u), 32.0),
    );
    let s = 5u * (at / 8u);
    let scale = half2(scales[s]).x * signed2(scales[s + 1u + at % 8u / 2u], 16u * (at % 2u));
    return Unit(c, scale, vec2<f32>(0.0));
}
