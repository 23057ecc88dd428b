// From a row of projections to what attention reads: per token and head, the norm of the head, the rotation, and for
// keys and values the way into the pages of the cache.
//
// A workgroup has one token (z) and one head (x): the query heads, then the key heads, then the value heads.
//
// Options: HEAD_NORMS; K_F16, K_F32 or K_Q8_0; V_F16, V_F32 or V_Q8_0.

struct Params {
    width: u32,     // columns of a row of `qkv`
    q_stride: u32,  // columns from one query head to the next: D, or 2 D where gates lie between them
    k_at: u32,      // column of the first key head
    v_at: u32,      // column of the first value head
    heads: u32,
    kv_heads: u32,
    head_dim: u32,  // D, at most 256
    half: u32,      // element i is rotated with i + half; the others stay
    start: u32,     // position of the first token
    sin_at: u32,    // where the sines begin in `tables`
    growth_at: u32, // where the growth begins, 0 for none
    scale: f32,     // 1 / sqrt(D), which the queries take along
    eps: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;        // [n, width]
@group(0) @binding(1) var<storage, read> tables: array<f32>;     // cos [n, half], sin [n, half], growth [n]
@group(0) @binding(2) var<storage, read> pages: array<u32>;      // the slot of each 64 positions
@group(0) @binding(3) var<storage, read_write> q: array<f32>;    // [n, heads, D]
#if K_F16
@group(0) @binding(4) var<storage, read_write> keys: array<vec4<u32>>; // [slot, kv head, D / 8, 64]
#endif
#if K_F32
@group(0) @binding(4) var<storage, read_write> keys: array<vec4<f32>>; // [slot, kv head, D / 4, 64]
#endif
#if K_Q8_0
@group(0) @binding(4) var<storage, read_write> keys: array<u32>; // [slot, kv head, codes [D / 4, 64], scales [D / 32, 64]]
#endif
#if V_F16
@group(0) @binding(5) var<storage, read_write> values: array<u32>; // [slot, kv head, 64, D / 2]
#endif
#if V_F32
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [slot, kv head, 64, D]
#endif
#if V_Q8_0
@group(0) @binding(5) var<storage, read_write> values: array<u32>; // [slot, kv head, codes [64, D / 4], scales [64, D / 32]]
#endif
#if HEAD_NORMS
@group(0) @binding(6) var<storage, read> q_norm: array<f32>; // [D]
@group(0) @binding(7) var<storage, read> k_norm: array<f32>; // [D]
#endif

const LANES: u32 = 64u;
const TILE: u32 = 64u;

var<workgroup> x: array<f32, 256>; // the head
#if HEAD_NORMS
var<workgroup> squares: array<f32, 64>;
var<workgroup> eighths: array<f32, 8>;
#endif

// Two floats as halves; what is too large becomes the largest, so that no infinity gets into the cache.
fn halves(a: f32, b: f32) -> u32 {
    return pack2x16float(clamp(vec2<f32>(a, b), vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}

// By what 32 elements are divided to become codes: the largest becomes 127.
fn scale_of(block: u32) -> f32 {
    var most = 0.0;
    for (var i = 0u; i < 32u; i += 1u) {
        most = max(most, abs(x[32u * block + i]));
    }
    return most / 127.0;
}

// Four codes.
fn codes(i: u32, scale: f32) -> u32 {
    let v = vec4<f32>(x[i], x[i + 1u], x[i + 2u], x[i + 3u]);
    return pack4xI8(vec4<i32>(clamp(round(v / max(scale, 1e-32)), vec4<f32>(-127.0), vec4<f32>(127.0))));
}

fn store_key(head: u32, position: u32, lane: u32) {
    let tile = pages[position / TILE] * p.kv_heads + head;
    let slot = position % TILE;
#if K_F16
    let chunks = p.head_dim / 8u;
    for (var i = lane; i < chunks; i += LANES) {
        let c = 8u * i;
        keys[(tile * chunks + i) * TILE + slot] = vec4<u32>(
            halves(x[c], x[c + 1u]),
            halves(x[c + 2u], x[c + 3u]),
            halves(x[c + 4u], x[c + 5u]),
            halves(x[c + 6u], x[c + 7u]),
        );
    }
#endif
#if K_F32
    let chunks = p.head_dim / 4u;
    for (var i = lane; i < chunks; i += LANES) {
        let c = 4u * i;
        keys[(tile * chunks + i) * TILE + slot] = vec4<f32>(x[c], x[c + 1u], x[c + 2u], x[c + 3u]);
    }
#endif
#if K_Q8_0
    let first = tile * 18u * p.head_dim;
    for (var i = lane; i < p.head_dim / 4u; i += LANES) {
        let scale = scale_of(i / 8u);
        keys[first + i * TILE + slot] = codes(4u * i, scale);
        if i % 8u == 0u {
            keys[first + 16u * p.head_dim + i / 8u * TILE + slot] = bitcast<u32>(scale);
        }
    }
#endif
}

fn store_value(head: u32, position: u32, lane: u32) {
    let row = (pages[position / TILE] * p.kv_heads + head) * TILE + position % TILE;
#if V_F16
    let words = p.head_dim / 2u;
    for (var i = lane; i < words; i += LANES) {
        values[row * words + i] = halves(x[2u * i], x[2u * i + 1u]);
    }
#endif
#if V_F32
    for (var i = lane; i < p.head_dim; i += LANES) {
        values[row * p.head_dim + i] = x[i];
    }
#endif
#if V_Q8_0
    let tile = row / TILE * 18u * p.head_dim;
    let slot = row % TILE;
    for (var i = lane; i < p.head_dim / 4u; i += LANES) {
        let scale = scale_of(i / 8u);
        values[tile + slot * (p.head_dim / 4u) + i] = codes(4u * i, scale);
        if i % 8u == 0u {
            values[tile + 16u * p.head_dim + slot * (p.head_dim / 32u) + i / 8u] = bitcast<u32>(scale);
        }
    }
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let d = p.head_dim;
    let t = id.z;
    let is_query = id.x < p.heads;
    let is_value = id.x >= p.heads + p.kv_heads;
    var head = id.x;
    var column = head * p.q_stride;
    if is_value {
        head -= p.heads + p.kv_heads;
        column = p.v_at + head * d;
    } else if !is_query {
        head -= p.heads;
        column = p.k_at + head * d;
    }
    let first = t * p.width + column;
#if HEAD_NORMS
    var sum = 0.0;
#endif
    for (var i = lane; i < d; i += LANES) {
        let value = qkv[first + i];
        x[i] = value;
#if HEAD_NORMS
        sum += value * value;
#endif
    }
#if HEAD_NORMS
    squares[lane] = sum;
#endif
    workgroupBarrier();
    if is_value {
        store_value(head, p.start + t, lane);
        return;
    }
#if HEAD_NORMS
    if lane < 8u {
        var eighth = 0.0;
        for (var i = lane; i < LANES; i += 8u) {
            eighth += squares[i];
        }
        eighths[lane] = eighth;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 8u; i += 1u) {
        total += eighths[i];
    }
    let r = 1.0 / sqrt(total / f32(d) + p.eps);
    for (var i = lane; i < d; i += LANES) {
        let weight = select(k_norm[i], q_norm[i], is_query);
        x[i] = x[i] * r * weight;
    }
    workgroupBarrier();
#endif
    for (var i = lane; i < p.half; i += LANES) {
        let cosine = tables[t * p.half + i];
        let sine = tables[p.sin_at + t * p.half + i];
        let a = x[i];
        let b = x[i + p.half];
        x[i] = a * cosine - b * sine;
        x[i + p.half] = b * cosine + a * sine;
    }
    workgroupBarrier();
    if !is_query {
        store_key(head, p.start + t, lane);
        return;
    }
    var scale = p.scale;
    if p.growth_at != 0u {
        scale *= tables[p.growth_at + t];
    }
    let to = (t * p.heads + head) * d;
    for (var i = lane; i < d; i += LANES) {
        q[to + i] = x[i] * scale;
    }
}
