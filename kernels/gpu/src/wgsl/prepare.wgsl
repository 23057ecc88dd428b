// Makes the input of matrix products of several tokens: their numbers, and units of what quantized matrices are given: 32
// codes of 8 bits, in 127 steps of the largest magnitude, and the step.
//
// NORM: out = x / rms(x) * g. SILU: out = silu(gate) * up, where the row holds the gates and then the ups.

struct Params {
    cols: u32,
    x_at: u32,
    x_stride: u32,
    eps: f32,
    tokens: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;              // [tokens, cols], or [tokens, 2, cols]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;      // [tokens, cols]
@group(0) @binding(2) var<storage, read_write> units: array<u32>;    // [tokens, cols / 32, 9]: 32 codes and their step
#if NORM
@group(0) @binding(3) var<storage, read> norm: array<f32>;           // [cols]
#endif

const WORKGROUP = 128u;

var<workgroup> shared_values: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let token = id.x + id.y * count.x;
    let at = p.x_at + token * p.x_stride;
    if token >= p.tokens {
        return;
    }
    var inverse = 1.0;
#if NORM
    var squares = 0.0;
    for (var c = thread; c < p.cols; c += WORKGROUP) {
        squares += x[at + c] * x[at + c];
    }
    shared_values[thread] = squares;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            shared_values[thread] += shared_values[thread + step];
        }
    }
    workgroupBarrier();
    inverse = inverseSqrt(shared_values[0] / f32(p.cols) + p.eps);
    workgroupBarrier();
#endif
    let row_units = p.cols / 32u;
    for (var first = 0u; first < p.cols; first += WORKGROUP) {
        let c = first + thread;
        var y = 0.0;
        if c < p.cols {
            y = x[at + c];
#if NORM
            y = y * inverse * norm[c];
#endif
#if SILU
            y = y / (1.0 + exp(-y)) * x[at + p.cols + c];
#endif
            out[token * p.cols + c] = y;
        }
        shared_values[thread] = y;
        workgroupBarrier();
        // A thread makes a word of four codes.
        if thread % 4u == 0u && c / 32u < row_units {
            let block = thread / 32u * 32u;
            // By their bits, what is not a number is the largest; the step is then none either, as on the CPU.
            var bits = 0u;
            for (var i = 0u; i < 32u; i++) {
                bits = max(bits, bitcast<u32>(shared_values[block + i]) & 0x7fffffffu);
            }
            let finite = bits < 0x7f800000u;
            let largest = bitcast<f32>(select(0u, bits, finite));
            let there = largest >= 1e-30;
            let inverse_step = select(0.0, 127.0 / largest, there);
            let four = vec4<f32>(
                shared_values[thread], shared_values[thread + 1u], shared_values[thread + 2u], shared_values[thread + 3u],
            );
            let codes = select(vec4<i32>(), vec4<i32>(round(four * inverse_step)), finite);
            let unit = (token * row_units + c / 32u) * 9u;
            units[unit + c % 32u / 4u] = pack4xI8(codes);
            if thread == block {
                units[unit + 8u] = select(0x7fc00000u, bitcast<u32>(select(0.0, largest / 127.0, there)), finite);
            }
        }
        workgroupBarrier();
    }
}
