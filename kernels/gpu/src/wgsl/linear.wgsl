// Few tokens: y = W x, each row by LANES threads that go through its units in turn.
//
// Where weights are quantized, so are the activations, as on the CPU: to 127 steps of the largest of each 32. For a single
// token that is done here, on the way; more tokens come as prepare.wgsl has rounded them.
//
// With NORM the token is normalised on the way: y = W (x * g) / rms, and the threads of each row find the rms themselves.
// With SILU the rows from up_rows on are a second matrix, and the result is silu(gate) * up.
// With EXPERTS the rows are those of the expert that a slot of a token is sent to.

struct Params {
    rows: u32,        // of this slice of the matrix (of an expert: of its result)
    units: u32,       // of 32 columns in a row
    tokens: u32,      // how many of TOKENS there are
    x_at: u32,        // where the first token is, in numbers, or words of units
    x_stride: u32,    // from token to token
    out_at: u32,
    out_stride: u32,
    up_rows: u32,     // rows from a gate to its up
    scale: f32,
    up_scale: f32,
    eps: f32,
    cols: u32,
    used: u32,         // slots of a token
    expert_rows: u32,  // from expert to expert
    first_expert: u32, // of this slice
    experts: u32,      // in this slice
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> codes: array<u32>;  // [rows, units] of the type's words
@group(0) @binding(1) var<storage, read> scales: array<u32>; // as many
#if STEPPED
@group(0) @binding(2) var<storage, read> x: array<u32>;      // [tokens, units] of prepare.wgsl
#else
#if RAGGED
@group(0) @binding(2) var<storage, read> x: array<f32>;      // [tokens, cols]
#else
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // [tokens, cols / 4]
#endif
#endif
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [tokens, rows]
#if NORM
@group(0) @binding({B_NORM}) var<storage, read> norm: array<f32>; // [cols]
#endif
#if BIAS
@group(0) @binding({B_BIAS}) var<storage, read> bias: array<f32>; // [rows]
#endif
#if EXPERTS
@group(0) @binding({B_EXPERTS}) var<storage, read> ids: array<u32>; // [tokens, used]
@group(0) @binding({B_FACTORS}) var<storage, read> factors: array<f32>; // [2, experts]: of gates or of all, and of ups
#endif
#if GRID
@group(0) @binding({B_GRID}) var<storage, read> grid: array<u32>;
#endif

#include "unit.wgsl"

const WORKGROUP = 128u;
const LANES = {LANES}u;
const ROWS = {ROWS}u;     // a thread works on
const TOKENS = {TOKENS}u; // that share what is unpacked
#if SILU
const PARTS = 2u;
#else
const PARTS = 1u;
#endif
const SUMS = ROWS * PARTS * TOKENS;

#if SUBGROUP
var<workgroup> partial: array<f32, 128>; // a sum of each subgroup
#else
var<workgroup> partial: array<f32, 128>; // one of each thread
#endif

fn load_x(at: u32, unit_at: u32) -> array<vec4<f32>, 8> {
    var v: array<vec4<f32>, 8>;
#if STEPPED
    let first = at + unit_at * 9u;
    let step = bitcast<f32>(x[first + 8u]);
    for (var i = 0u; i < 8u; i++) {
        v[i] = step * vec4<f32>(unpack4xI8(x[first + i]));
    }
#else
#if RAGGED
    for (var i = 0u; i < 8u; i++) {
        let c = unit_at * 32u + i * 4u;
        let first = at + c;
        v[i] = vec4<f32>(
            select(0.0, x[min(first, arrayLength(&x) - 1u)], c < p.cols),
            select(0.0, x[min(first + 1u, arrayLength(&x) - 1u)], c + 1u < p.cols),
            select(0.0, x[min(first + 2u, arrayLength(&x) - 1u)], c + 2u < p.cols),
            select(0.0, x[min(first + 3u, arrayLength(&x) - 1u)], c + 3u < p.cols),
        );
    }
#else
    let first = at / 4u + unit_at * 8u;
    for (var i = 0u; i < 8u; i++) {
        v[i] = x[first + i];
    }
#endif
#endif
    return v;
}

#if NORM
fn load_norm(c: u32) -> vec4<f32> {
#if RAGGED
    let last = p.cols - 1u;
    return vec4<f32>(norm[min(c, last)], norm[min(c + 1u, last)], norm[min(c + 2u, last)], norm[min(c + 3u, last)]);
#else
    return vec4<f32>(norm[c], norm[c + 1u], norm[c + 2u], norm[c + 3u]);
#endif
}
#endif

#if ONE
#if QUANTIZED
fn rounded(v: array<vec4<f32>, 8>) -> array<vec4<f32>, 8> {
    // By their bits, what is not a number is the largest.
    let magnitude = vec4<u32>(0x7fffffffu);
    var four = bitcast<vec4<u32>>(v[0]) & magnitude;
    for (var i = 1u; i < 8u; i++) {
        four = max(four, bitcast<vec4<u32>>(v[i]) & magnitude);
    }
    let bits = max(max(four.x, four.y), max(four.z, four.w));
    if bits >= 0x7f800000u {
        return v; // to be seen in the result
    }
    let largest = bitcast<f32>(bits);
    var out: array<vec4<f32>, 8>;
    if largest >= 1e-30 {
        let inverse = 127.0 / largest;
        let step = largest / 127.0;
        for (var i = 0u; i < 8u; i++) {
            out[i] = round(v[i] * inverse) * step;
        }
    }
    return out;
}
#endif
#endif

fn multiply(w: Unit, v: array<vec4<f32>, 8>) -> f32 {
    var low = 0.0;
    var high = 0.0;
    for (var i = 0u; i < 4u; i++) {
        low += dot(w.codes[i], v[i]);
        high += dot(w.codes[i + 4u], v[i + 4u]);
    }
    var sum = w.scale.x * low + w.scale.y * high;
#if MIN
    let ones = vec4<f32>(1.0);
    let first = v[0] + v[1] + v[2] + v[3];
    let second = v[4] + v[5] + v[6] + v[7];
    sum -= w.min.x * dot(first, ones) + w.min.y * dot(second, ones);
#endif
    return sum;
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
#if SUBGROUP
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
#endif
) {
    let group = id.x + id.y * count.x;
    let lane = thread % LANES;
    let team = thread / LANES;
    let first_row = (group * (WORKGROUP / LANES) + team) * ROWS;
#if EXPERTS
    let slot = id.z;
    let expert = ids[slot] - p.first_expert; // wraps where it is in an earlier slice
    if group * (WORKGROUP / LANES) * ROWS >= p.rows || expert >= p.experts {
        return;
    }
    let row_at = expert * p.expert_rows;
    let x_at = p.x_at + slot / p.used * p.x_stride;
    let out_at = p.out_at + slot * p.out_stride;
    let scale = factors[ids[slot]];
#else
    if group * (WORKGROUP / LANES) * ROWS >= p.rows {
        return;
    }
    let row_at = 0u;
    let x_at = p.x_at + id.z * TOKENS * p.x_stride;
    let out_at = p.out_at + id.z * TOKENS * p.out_stride;
    let scale = p.scale;
#endif
    var sums: array<f32, SUMS>;
    for (var i = 0u; i < SUMS; i++) {
        sums[i] = 0.0;
    }
    var squares = 0.0;
    for (var u = lane; u < p.units; u += LANES) {
#if ONE
        var v = load_x(x_at, u);
#if NORM
        for (var i = 0u; i < 8u; i++) {
            squares += dot(v[i], v[i]);
            v[i] *= load_norm(u * 32u + i * 4u);
        }
#endif
#if QUANTIZED
        v = rounded(v);
#endif
#endif
        for (var r = 0u; r < ROWS; r++) {
            let row = row_at + min(first_row + r, p.rows - 1u);
            for (var part = 0u; part < PARTS; part++) {
                let w = unit((row + part * p.up_rows) * p.units + u);
#if ONE
                sums[r * PARTS + part] += multiply(w, v);
#else
                for (var t = 0u; t < TOKENS; t++) {
                    // Those that are not there are the last once more.
                    let v = load_x(x_at + min(t, p.tokens - id.z * TOKENS - 1u) * p.x_stride, u);
                    sums[(r * PARTS + part) * TOKENS + t] += multiply(w, v);
                }
#endif
            }
        }
    }

#if NORM
    let inverse = inverseSqrt(team_sum(squares, thread, lane
#if SUBGROUP
        , subgroup_size, subgroup_lane
#endif
    ) / f32(p.cols) + p.eps);
#else
    let inverse = 1.0;
#endif
    for (var i = 0u; i < SUMS; i++) {
        sums[i] = inverse * team_sum(sums[i], thread, lane
#if SUBGROUP
            , subgroup_size, subgroup_lane
#endif
        );
    }
    // Every thread has all sums; each writes one.
    for (var i = 0u; i < ROWS * TOKENS; i++) {
        let r = i / TOKENS;
        let t = i % TOKENS;
        let row = first_row + r;
#if EXPERTS
        let there = row < p.rows;
#else
        let there = row < p.rows && id.z * TOKENS + t < p.tokens;
#endif
        if lane == i % LANES && there {
            var y = sums[r * PARTS * TOKENS + t] * scale;
#if SILU
#if EXPERTS
            let up_scale = factors[arrayLength(&factors) / 2u + ids[slot]];
#else
            let up_scale = p.up_scale;
#endif
            y = y / (1.0 + exp(-y)) * (sums[(r * PARTS + 1u) * TOKENS + t] * up_scale);
#endif
#if BIAS
            y += bias[row];
#endif
            let at = out_at + t * p.out_stride + row;
#if ADD
            out[at] += y;
#else
            out[at] = y;
#endif
        }
    }
}

// The sum over the LANES threads of a row, for each of them; always the same order.
#if SUBGROUP
fn team_sum(value: f32, thread: u32, lane: u32, size: u32, subgroup_lane: u32) -> f32 {
    let sum = subgroupAdd(value);
    if size >= LANES {
        return sum;
    }
    workgroupBarrier();
    if subgroup_lane == 0u {
        partial[thread / size] = sum;
    }
    workgroupBarrier();
    let each = LANES / size;
    let first = thread / LANES * each;
    var all = 0.0;
    for (var i = 0u; i < each; i++) {
        all += partial[first + i];
    }
    return all;
}
#else
fn team_sum(value: f32, thread: u32, lane: u32) -> f32 {
    partial[thread] = value;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            partial[thread] += partial[thread + step];
        }
    }
    workgroupBarrier();
    let sum = partial[thread - lane];
    workgroupBarrier();
    return sum;
}
#endif
