// Merges the parts that attend.wgsl makes where tiles are split. A workgroup has one token's query head; each lane has
// one split's sum, then four dimensions of the output.
//
// Options: HEAD_DIM, at most 256; GATED multiplies the output with a gate.

struct Params {
    rows: u32,       // n * heads
    heads: u32,
    splits: u32,     // at most 128
    gate_width: u32, // columns of a row with gates: [heads, 2, D], the gate of a head behind its query
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;     // [split, n, heads, D / 4]
@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;      // [split, n, heads]: largest score, sum
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>; // [n, heads, D / 4]
#if GATED
@group(0) @binding(3) var<storage, read> gates: array<f32>; // [n, gate_width]
#endif

const D: u32 = {HEAD_DIM}u;
const LANES: u32 = 128u;
const QUADS: u32 = D / 4u;
const PARTS: u32 = LANES / QUADS; // lanes that share four dimensions
const LEAST: f32 = -3.4e38;

var<workgroup> weights: array<f32, 128>; // largest scores, then the weights of the splits
var<workgroup> totals: array<f32, 128>;
var<workgroup> sixteenths: array<f32, 16>;
var<workgroup> outs: array<vec4<f32>, 128>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = id.x + id.y * count.x;
    if row >= p.rows {
        return;
    }
    // A split that none of whose positions are seen has the sum 0.
    var state = vec2<f32>(LEAST, 0.0);
    if lane < p.splits {
        state = sums[lane * p.rows + row];
    }
    weights[lane] = state.x;
    workgroupBarrier();
    if lane < 16u {
        var most = weights[lane];
        for (var i = lane + 16u; i < LANES; i += 16u) {
            most = max(most, weights[i]);
        }
        sixteenths[lane] = most;
    }
    workgroupBarrier();
    var top = LEAST;
    for (var i = 0u; i < 16u; i += 1u) {
        top = max(top, sixteenths[i]);
    }
    // A sum that is not a number counts.
    let weight = select(exp(state.x - top), 0.0, state.y == 0.0);
    weights[lane] = weight;
    totals[lane] = weight * state.y;
    workgroupBarrier();
    if lane < 16u {
        var sum = totals[lane];
        for (var i = lane + 16u; i < LANES; i += 16u) {
            sum += totals[i];
        }
        sixteenths[lane] = sum;
    }

    let quad = lane % QUADS;
    let part = lane / QUADS;
    var o = vec4<f32>();
    if part < PARTS {
        for (var split = part; split < p.splits; split += PARTS) {
            o += weights[split] * parts[(split * p.rows + row) * QUADS + quad];
        }
    }
    outs[lane] = o;
    workgroupBarrier();
    if lane >= QUADS {
        return;
    }
    for (var i = 1u; i < PARTS; i += 1u) {
        o += outs[i * QUADS + quad];
    }
    var total = 0.0;
    for (var i = 0u; i < 16u; i += 1u) {
        total += sixteenths[i];
    }
    o = o / total;
#if GATED
    let gate = row / p.heads * p.gate_width + (2u * (row % p.heads) + 1u) * D + 4u * quad;
    let g = vec4<f32>(gates[gate], gates[gate + 1u], gates[gate + 2u], gates[gate + 3u]);
    o *= 1.0 / (1.0 + exp(min(-g, vec4<f32>(88.0)))); // exp without infinity
#endif
    out[row * QUADS + quad] = o;
}
