// Many tokens: y = W x in tiles of 64 rows and TOKENS tokens, 32 columns at a time.
//
// Where weights are quantized, the tiles hold codes, those of the weights and those that prepare.wgsl made of the tokens: in
// half precision, where the device computes in it, they are exact, and so they are as bytes, which IDOT multiplies as
// integers. The dot product of a group is an exact integer in either case, as on the CPU, and is multiplied by the group's
// scales. Sums are f32. So the options make no difference to the result.
// With EXPERTS a tile's tokens are slots that are sent to the same expert.

struct Params {
    rows: u32,       // of this slice of the matrix (of an expert: of its result)
    units: u32,      // of 32 columns in a row
    tokens: u32,
    x_at: u32,       // where the first token is, in numbers, or words of units
    x_stride: u32,   // from token to token
    out_at: u32,
    out_stride: u32,
    scale: f32,
    cols: u32,
    used: u32,         // slots of a token that is the input of all of them; 1 where each has its own
    expert_rows: u32,  // from expert to expert
    expert_at: u32,    // first row of the part of an expert
    first_expert: u32, // of this slice
    experts: u32,      // in this slice
    factor_at: u32,
    order_at: u32,     // where the slots begin behind the blocks, in words
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> codes: array<u32>;  // [rows, units] of the type's words
@group(0) @binding(1) var<storage, read> scales: array<u32>; // as many
#if QUANTIZED
@group(0) @binding(2) var<storage, read> x: array<u32>;      // [tokens, units] of prepare.wgsl
#else
@group(0) @binding(2) var<storage, read> x: array<f32>;      // [tokens, cols]
#endif
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [tokens, rows]
#if BIAS
@group(0) @binding({B_BIAS}) var<storage, read> bias: array<f32>; // [rows]
#endif
#if EXPERTS
@group(0) @binding({B_EXPERTS}) var<storage, read> order: array<u32>; // [blocks, 3] and then [slots], see expert_sort.wgsl
@group(0) @binding({B_FACTORS}) var<storage, read> factors: array<f32>; // [2, experts]
#endif
#if GRID
@group(0) @binding({B_GRID}) var<storage, read> grid: array<u32>;
#endif

#include "unit.wgsl"

const ROWS = 64u;
const TOKENS = {TOKENS}u;
const EACH = TOKENS / 16u; // tokens of a thread

#if QUANTIZED
#if IDOT
alias Part = u32; // four codes of 8 bits
#else
#if F16
alias Part = vec4<f16>;
#else
alias Part = vec4<f32>;
#endif
#endif
var<workgroup> w_scales: array<vec2<f32>, ROWS>;
var<workgroup> x_steps: array<f32, TOKENS>;
#if MIN
var<workgroup> w_mins: array<vec2<f32>, ROWS>;
var<workgroup> x_sums: array<vec2<f32>, TOKENS>; // of 16 codes each
#endif
#else
alias Part = vec4<f32>;
#endif

// What a part becomes on its way to a dot product, and what that makes.
#if IDOT
alias Wide = u32;
alias Dot = i32;
#else
alias Wide = vec4<f32>;
alias Dot = f32;
#endif

var<workgroup> w_tile: array<Part, 512>;         // [8, ROWS] of 4 columns
var<workgroup> x_tile: array<Part, 8u * TOKENS>; // [8, TOKENS] of 4 columns

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = id.x * ROWS;
#if EXPERTS
    let expert_id = order[id.y * 3u];
    let first = p.order_at + order[id.y * 3u + 1u];
    let tokens = order[id.y * 3u + 2u];
    let expert = expert_id - p.first_expert; // wraps where it is in an earlier slice
    if tokens == 0u || expert >= p.experts {
        return;
    }
    let row_at = expert * p.expert_rows + p.expert_at;
    let scale = factors[p.factor_at + expert_id];
#else
    let first = id.y * TOKENS;
    let tokens = min(p.tokens - first, TOKENS);
    let row_at = 0u;
    let scale = p.scale;
#endif
    let column = thread % 16u;
    let line = thread / 16u;
    var sums: array<array<f32, EACH>, 4>;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < EACH; j++) {
            sums[i][j] = 0.0;
        }
    }
    for (var u = 0u; u < p.units; u++) {
        // A thread brings a unit of a row, or of a token.
        if thread < ROWS {
            let w = unit((row_at + min(row + thread, p.rows - 1u)) * p.units + u);
            for (var i = 0u; i < 8u; i++) {
#if IDOT
                w_tile[i * ROWS + thread] = pack4xI8(vec4<i32>(w.codes[i]));
#else
                w_tile[i * ROWS + thread] = Part(w.codes[i]);
#endif
            }
#if QUANTIZED
            w_scales[thread] = w.scale;
#if MIN
            w_mins[thread] = w.min;
#endif
#endif
        } else if thread < ROWS + TOKENS {
            let t = thread - ROWS;
            // What is not there is the last one once more.
            let place = first + min(t, tokens - 1u);
#if EXPERTS
            let token = order[place] / p.used;
#else
            let token = place;
#endif
#if QUANTIZED
            let at = p.x_at + token * p.x_stride + u * 9u;
            for (var i = 0u; i < 8u; i++) {
#if IDOT
                x_tile[i * TOKENS + t] = x[at + i];
#else
                x_tile[i * TOKENS + t] = Part(vec4<f32>(unpack4xI8(x[at + i])));
#endif
            }
            x_steps[t] = bitcast<f32>(x[at + 8u]);
#if MIN
            var low = 0;
            var high = 0;
            for (var i = 0u; i < 4u; i++) {
                low += dot4I8Packed(x[at + i], 0x01010101u);
                high += dot4I8Packed(x[at + 4u + i], 0x01010101u);
            }
            x_sums[t] = vec2<f32>(f32(low), f32(high));
#endif
#else
            for (var i = 0u; i < 8u; i++) {
                let c = u * 32u + i * 4u;
                let at = p.x_at + token * p.x_stride + c;
#if RAGGED
                let end = arrayLength(&x) - 1u;
                x_tile[i * TOKENS + t] = vec4<f32>(
                    select(0.0, x[min(at, end)], c < p.cols),
                    select(0.0, x[min(at + 1u, end)], c + 1u < p.cols),
                    select(0.0, x[min(at + 2u, end)], c + 2u < p.cols),
                    select(0.0, x[min(at + 3u, end)], c + 3u < p.cols),
                );
#else
                x_tile[i * TOKENS + t] = vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
#endif
            }
#endif
        }
        workgroupBarrier();
#if QUANTIZED
        for (var half = 0u; half < 2u; half++) {
            var dots: array<array<Dot, EACH>, 4>;
            for (var i = 0u; i < 4u; i++) {
                for (var j = 0u; j < EACH; j++) {
                    dots[i][j] = Dot(0);
                }
            }
            for (var part = half * 4u; part < half * 4u + 4u; part++) {
                var w: array<Wide, 4>;
                for (var i = 0u; i < 4u; i++) {
                    w[i] = Wide(w_tile[part * ROWS + i * 16u + column]);
                }
                for (var j = 0u; j < EACH; j++) {
                    let v = Wide(x_tile[part * TOKENS + j * 16u + line]);
                    for (var i = 0u; i < 4u; i++) {
#if IDOT
                        dots[i][j] += dot4I8Packed(w[i], v);
#else
                        dots[i][j] += dot(w[i], v);
#endif
                    }
                }
            }
            for (var i = 0u; i < 4u; i++) {
                let both = w_scales[i * 16u + column];
                let w_scale = select(both.x, both.y, half == 1u);
#if MIN
                let mins = w_mins[i * 16u + column];
                let w_min = select(mins.x, mins.y, half == 1u);
#endif
                for (var j = 0u; j < EACH; j++) {
                    let step = x_steps[j * 16u + line];
                    sums[i][j] += w_scale * step * f32(dots[i][j]);
#if MIN
                    let x_sum = x_sums[j * 16u + line];
                    sums[i][j] -= w_min * step * select(x_sum.x, x_sum.y, half == 1u);
#endif
                }
            }
        }
#else
        for (var part = 0u; part < 8u; part++) {
            var w: array<vec4<f32>, 4>;
            for (var i = 0u; i < 4u; i++) {
                w[i] = w_tile[part * ROWS + i * 16u + column];
            }
            for (var j = 0u; j < EACH; j++) {
                let v = x_tile[part * TOKENS + j * 16u + line];
                for (var i = 0u; i < 4u; i++) {
                    sums[i][j] += dot(w[i], v);
                }
            }
        }
#endif
        workgroupBarrier();
    }
    for (var j = 0u; j < EACH; j++) {
        let t = j * 16u + line;
        if t >= tokens {
            continue;
        }
#if EXPERTS
        let slot = order[first + t];
#else
        let slot = first + t;
#endif
        for (var i = 0u; i < 4u; i++) {
            let r = row + i * 16u + column;
            if r < p.rows {
                var y = sums[i][j] * scale;
#if BIAS
                y += bias[r];
#endif
                let at = p.out_at + slot * p.out_stride + r;
#if ADD
                out[at] += y;
#else
                out[at] = y;
#endif
            }
        }
    }
}
