// 32 codes of 2 bits.
fn pairs(w: vec2<u32>, zero: f32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        number(pick(w.x, 3u), zero), number(pick(w.x >> 16u, 3u), zero),
        number(pick(w.x >> 2u, 3u), zero), number(pick(w.x >> 18u, 3u), zero),
        number(pick(w.y, 3u), zero), number(pick(w.y >> 16u, 3u), zero),
        number(pick(w.y >> 2u, 3u), zero), number(pick(w.y >> 18u, 3u), zero),
    );
}
