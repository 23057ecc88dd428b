// Attention of a run of tokens over the pages of the cache.
//
// The query heads that share a kv head are its rows: row r is token r / group, query head r % group of the group. A
// workgroup has one kv head, a block of ROWS rows and, where tiles are split (z), a run of tiles of 64 positions. It
// reads each tile once for all its rows. Rows lie in the components of vectors: `low` has rows 0 to 3, `high` 4 to 7.
//
// Per tile, lane j first has position j: its scores with all rows. Then the lanes share out the dimensions, four
// each, of the weighted sum of the values; where that leaves lanes over, they share out the positions, too.
//
// Options: HEAD_DIM, at most 256; ROWS, 8 with EIGHT or else 4; K_F16, K_F32 or K_Q8_0; V_F16, V_F32 or V_Q8_0; FINISH writes the
// output, else there are parts for attend_merge.wgsl; GATED (with FINISH) multiplies it with a gate.

struct Params {
    rows: u32,       // of a kv head: n * group
    group: u32,      // query heads of a kv head
    kv_heads: u32,
    start: u32,      // position of the first token
    end: u32,        // behind that of the last
    causal: u32,     // 0: each token sees all positions
    tiles: u32,      // that a workgroup takes
    gate_width: u32, // columns of a row with gates: [heads, 2, D], the gate of a head behind its query
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> q: array<f32>;     // [n, heads, D], times 1 / sqrt(D)
@group(0) @binding(1) var<storage, read> pages: array<u32>; // the slot of each tile
#if K_F16
@group(0) @binding(2) var<storage, read> keys: array<vec4<u32>>; // [slot, kv head, D / 8, 64]
#endif
#if K_F32
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [slot, kv head, D / 4, 64]
#endif
#if K_Q8_0
@group(0) @binding(2) var<storage, read> keys: array<u32>; // [slot, kv head, codes [D / 4, 64], scales [D / 32, 64]]
#endif
#if V_F16
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>; // [slot, kv head, 64, D / 4]
#endif
#if V_F32
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>; // [slot, kv head, 64, D / 4]
#endif
#if V_Q8_0
@group(0) @binding(3) var<storage, read> values: array<u32>; // [slot, kv head, codes [64, D / 4], scales [64, D / 32]]
#endif
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // [n, heads, D], or that of each split
#if !FINISH
@group(0) @binding(5) var<storage, read_write> sums: array<vec2<f32>>; // [split, n, heads]: largest score, sum
#endif
#if GATED
@group(0) @binding(5) var<storage, read> gates: array<f32>; // [n, gate_width]
#endif

const D: u32 = {HEAD_DIM}u;
const LANES: u32 = 64u;
const TILE: u32 = 64u;
const ROWS: u32 = {ROWS}u;
const VECTORS: u32 = ROWS / 4u;
const QUADS: u32 = D / 4u;
const PARTS: u32 = LANES / QUADS; // lanes that share four dimensions
const LEAST: f32 = -3.4e38;

var<workgroup> rows: array<vec4<f32>, D * VECTORS>;      // [D, ROWS]: the queries; in the end, the weighted sums
var<workgroup> scores: array<vec4<f32>, TILE * VECTORS>; // [64, ROWS]; in the end, sums of weights
var<workgroup> weights: array<vec4<f32>, TILE * VECTORS>;
var<workgroup> eighths: array<vec4<f32>, 8u * VECTORS>;  // of the 64 scores or sums

#if !K_F16
// Four dimensions of the key at position j of a tile.
fn key(page: u32, chunk: u32, j: u32) -> vec4<f32> {
#if K_F32
    return keys[(page * QUADS + chunk) * TILE + j];
#else
    let tile = page * 18u * D;
    let scale = bitcast<f32>(keys[tile + 16u * D + chunk / 8u * TILE + j]);
    return vec4<f32>(unpack4xI8(keys[tile + chunk * TILE + j])) * scale;
#endif
}
#endif

// Four dimensions of the value at position j of a tile.
fn value(page: u32, j: u32, quad: u32) -> vec4<f32> {
#if V_F16
    let words = values[(page * TILE + j) * QUADS + quad];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
#endif
#if V_F32
    return values[(page * TILE + j) * QUADS + quad];
#endif
#if V_Q8_0
    let tile = page * 18u * D;
    let scale = bitcast<f32>(values[tile + 16u * D + j * (D / 32u) + quad / 8u]);
    return vec4<f32>(unpack4xI8(values[tile + j * QUADS + quad])) * scale;
#endif
}

// Where a row stands in [n, heads].
fn place(kv_head: u32, row: u32) -> u32 {
    return row / p.group * p.group * p.kv_heads + kv_head * p.group + row % p.group;
}

// How many positions, from the first on, a row sees.
fn seen(row: u32) -> u32 {
    return select(p.end, min(p.start + row / p.group + 1u, p.end), p.causal != 0u);
}

// Element i of a row's query; nothing behind the last row.
fn query(kv_head: u32, row: u32, i: u32) -> f32 {
    if row >= p.rows {
        return 0.0;
    }
    return q[place(kv_head, row) * D + i];
}

// Writes element i of a row, whose weights add up to `sum`.
fn put(split: u32, kv_head: u32, row: u32, i: u32, x: f32, sum: f32) {
    if row >= p.rows {
        return;
    }
    let at = place(kv_head, row);
#if FINISH
    var y = x / sum;
#if GATED
    let gate = gates[row / p.group * p.gate_width + (2u * (kv_head * p.group + row % p.group) + 1u) * D + i];
    y *= 1.0 / (1.0 + exp(min(-gate, 88.0))); // exp without infinity
#endif
    out[at * D + i] = y;
#else
    out[(split * p.rows * p.kv_heads + at) * D + i] = x;
#endif
}

#if !FINISH
fn put_sums(split: u32, kv_head: u32, row: u32, largest: f32, sum: f32) {
    if row < p.rows {
        sums[split * p.rows * p.kv_heads + place(kv_head, row)] = vec2<f32>(largest, sum);
    }
}
#endif

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // The blocks of one kv head follow each other; the last, which see most, come first.
    let blocks = (p.rows + ROWS - 1u) / ROWS;
    let item = id.x + id.y * count.x;
    if item >= blocks * p.kv_heads {
        return;
    }
    let kv_head = item / blocks;
    let first = (blocks - 1u - item % blocks) * ROWS;
    let split = id.z;

    for (var at = lane; at < D * VECTORS; at += LANES) {
        let i = at % D;
        let vector = at / D;
        let row = first + 4u * vector;
        rows[i * VECTORS + vector] = vec4<f32>(
            query(kv_head, row, i),
            query(kv_head, row + 1u, i),
            query(kv_head, row + 2u, i),
            query(kv_head, row + 3u, i),
        );
    }
    workgroupBarrier();

    let seen_low = vec4<u32>(seen(first), seen(first + 1u), seen(first + 2u), seen(first + 3u));
    var largest_low = vec4<f32>(LEAST);
    var sum_low = vec4<f32>(); // of this lane's weights
    var low_0 = vec4<f32>();   // weighted sums of this lane's four dimensions
    var low_1 = vec4<f32>();
    var low_2 = vec4<f32>();
    var low_3 = vec4<f32>();
#if EIGHT
    let seen_high = vec4<u32>(seen(first + 4u), seen(first + 5u), seen(first + 6u), seen(first + 7u));
    var largest_high = vec4<f32>(LEAST);
    var sum_high = vec4<f32>();
    var high_0 = vec4<f32>();
    var high_1 = vec4<f32>();
    var high_2 = vec4<f32>();
    var high_3 = vec4<f32>();
#endif
    let quad = lane % QUADS;
    let part = lane / QUADS;
    let end = seen(min(first + ROWS, p.rows) - 1u);
    let last_tile = min((split + 1u) * p.tiles, (end + TILE - 1u) / TILE);
    for (var tile = split * p.tiles; tile < last_tile; tile += 1u) {
        let page = pages[tile] * p.kv_heads + kv_head;

        // The scores of position `lane`.
        var low = vec4<f32>();
#if EIGHT
        var high = vec4<f32>();
#endif
#if K_F16
        for (var chunk = 0u; chunk < D / 8u; chunk += 1u) {
            let words = keys[(page * (D / 8u) + chunk) * TILE + lane];
            let k0 = vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
            let k1 = vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w));
            let at = chunk * 8u * VECTORS;
            low += rows[at] * k0.x;
            low += rows[at + VECTORS] * k0.y;
            low += rows[at + 2u * VECTORS] * k0.z;
            low += rows[at + 3u * VECTORS] * k0.w;
            low += rows[at + 4u * VECTORS] * k1.x;
            low += rows[at + 5u * VECTORS] * k1.y;
            low += rows[at + 6u * VECTORS] * k1.z;
            low += rows[at + 7u * VECTORS] * k1.w;
#if EIGHT
            high += rows[at + 1u] * k0.x;
            high += rows[at + 3u] * k0.y;
            high += rows[at + 5u] * k0.z;
            high += rows[at + 7u] * k0.w;
            high += rows[at + 9u] * k1.x;
            high += rows[at + 11u] * k1.y;
            high += rows[at + 13u] * k1.z;
            high += rows[at + 15u] * k1.w;
#endif
        }
#endif
#if !K_F16
        for (var chunk = 0u; chunk < QUADS; chunk += 1u) {
            let k = key(page, chunk, lane);
            let at = chunk * 4u * VECTORS;
            low += rows[at] * k.x;
            low += rows[at + VECTORS] * k.y;
            low += rows[at + 2u * VECTORS] * k.z;
            low += rows[at + 3u * VECTORS] * k.w;
#if EIGHT
            high += rows[at + 1u] * k.x;
            high += rows[at + 3u] * k.y;
            high += rows[at + 5u] * k.z;
            high += rows[at + 7u] * k.w;
#endif
        }
#endif
        let position = vec4<u32>(tile * TILE + lane);
        let sees_low = position < seen_low;
        low = select(vec4<f32>(LEAST), low, sees_low);
        scores[lane * VECTORS] = low;
#if EIGHT
        let sees_high = position < seen_high;
        high = select(vec4<f32>(LEAST), high, sees_high);
        scores[lane * VECTORS + 1u] = high;
#endif
        workgroupBarrier();

        // The largest of each row, in two steps.
        if lane < 8u * VECTORS {
            var most = scores[lane];
            for (var at = lane + 8u * VECTORS; at < TILE * VECTORS; at += 8u * VECTORS) {
                most = max(most, scores[at]);
            }
            eighths[lane] = most;
        }
        workgroupBarrier();
        var top_low = largest_low;
        for (var i = 0u; i < 8u; i += 1u) {
            top_low = max(top_low, eighths[i * VECTORS]);
        }
        let weight_low = select(vec4<f32>(), exp(low - top_low), sees_low);
        let fade_low = exp(largest_low - top_low);
        largest_low = top_low;
        sum_low = sum_low * fade_low + weight_low;
        weights[lane * VECTORS] = weight_low;
#if EIGHT
        var top_high = largest_high;
        for (var i = 0u; i < 8u; i += 1u) {
            top_high = max(top_high, eighths[i * VECTORS + 1u]);
        }
        let weight_high = select(vec4<f32>(), exp(high - top_high), sees_high);
        let fade_high = exp(largest_high - top_high);
        largest_high = top_high;
        sum_high = sum_high * fade_high + weight_high;
        weights[lane * VECTORS + 1u] = weight_high;
#endif
        workgroupBarrier();

        // The weighted sum of the values.
        low_0 *= fade_low;
        low_1 *= fade_low;
        low_2 *= fade_low;
        low_3 *= fade_low;
#if EIGHT
        high_0 *= fade_high;
        high_1 *= fade_high;
        high_2 *= fade_high;
        high_3 *= fade_high;
#endif
        if part < PARTS {
            let held = min(end - tile * TILE, TILE);
            for (var j = part; j < held; j += PARTS) {
                let v = value(page, j, quad);
                let w_low = weights[j * VECTORS];
                low_0 += w_low * v.x;
                low_1 += w_low * v.y;
                low_2 += w_low * v.z;
                low_3 += w_low * v.w;
#if EIGHT
                let w_high = weights[j * VECTORS + 1u];
                high_0 += w_high * v.x;
                high_1 += w_high * v.y;
                high_2 += w_high * v.z;
                high_3 += w_high * v.w;
#endif
            }
        }
    }

    // Add up what the lanes have, in a fixed order.
    scores[lane * VECTORS] = sum_low;
#if EIGHT
    scores[lane * VECTORS + 1u] = sum_high;
#endif
    for (var turn = 0u; turn < PARTS; turn += 1u) {
        if part == turn {
            let at = quad * 4u * VECTORS;
            if turn > 0u {
                low_0 += rows[at];
                low_1 += rows[at + VECTORS];
                low_2 += rows[at + 2u * VECTORS];
                low_3 += rows[at + 3u * VECTORS];
#if EIGHT
                high_0 += rows[at + 1u];
                high_1 += rows[at + 3u];
                high_2 += rows[at + 5u];
                high_3 += rows[at + 7u];
#endif
            }
            rows[at] = low_0;
            rows[at + VECTORS] = low_1;
            rows[at + 2u * VECTORS] = low_2;
            rows[at + 3u * VECTORS] = low_3;
#if EIGHT
            rows[at + 1u] = high_0;
            rows[at + 3u] = high_1;
            rows[at + 5u] = high_2;
            rows[at + 7u] = high_3;
#endif
        }
        workgroupBarrier();
    }
    if lane < 8u * VECTORS {
        var sum = scores[lane];
        for (var at = lane + 8u * VECTORS; at < TILE * VECTORS; at += 8u * VECTORS) {
            sum += scores[at];
        }
        eighths[lane] = sum;
    }
    workgroupBarrier();
    sum_low = vec4<f32>();
    for (var i = 0u; i < 8u; i += 1u) {
        sum_low += eighths[i * VECTORS];
    }
#if EIGHT
    sum_high = vec4<f32>();
    for (var i = 0u; i < 8u; i += 1u) {
        sum_high += eighths[i * VECTORS + 1u];
    }
#endif
    for (var i = lane; i < D; i += LANES) {
        let x = rows[i * VECTORS];
        put(split, kv_head, first, i, x.x, sum_low.x);
        put(split, kv_head, first + 1u, i, x.y, sum_low.y);
        put(split, kv_head, first + 2u, i, x.z, sum_low.z);
        put(split, kv_head, first + 3u, i, x.w, sum_low.w);
#if EIGHT
        let y = rows[i * VECTORS + 1u];
        put(split, kv_head, first + 4u, i, y.x, sum_high.x);
        put(split, kv_head, first + 5u, i, y.y, sum_high.y);
        put(split, kv_head, first + 6u, i, y.z, sum_high.z);
        put(split, kv_head, first + 7u, i, y.w, sum_high.w);
#endif
    }
#if !FINISH
    if lane == 0u {
        put_sums(split, kv_head, first, largest_low.x, sum_low.x);
        put_sums(split, kv_head, first + 1u, largest_low.y, sum_low.y);
        put_sums(split, kv_head, first + 2u, largest_low.z, sum_low.z);
        put_sums(split, kv_head, first + 3u, largest_low.w, sum_low.w);
#if EIGHT
        put_sums(split, kv_head, first + 4u, largest_high.x, sum_high.x);
        put_sums(split, kv_head, first + 5u, largest_high.y, sum_high.y);
        put_sums(split, kv_head, first + 6u, largest_high.z, sum_high.z);
        put_sums(split, kv_head, first + 7u, largest_high.w, sum_high.w);
#endif
    }
#endif
}
