// Makes the input of matrix products of several tokens: a token's numbers, the same as quantized matrices are given them,
// in 127 steps of the largest of each 32, and the largest magnitude of all.
//
// NORM: out = x / rms(x) * g. SILU: out = silu(gate) * up, where the row holds the gates and then the ups.

struct Params {
    cols: u32,
    x_at: u32,
    x_stride: u32,
    eps: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;              // [tokens, cols], or [tokens, 2, cols]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;      // [tokens, cols]
@group(0) @binding(2) var<storage, read_write> steps_out: array<f32>; // [tokens, cols]
@group(0) @binding(3) var<storage, read_write> largest: array<f32>;  // [tokens]
#if NORM
@group(0) @binding(4) var<storage, read> norm: array<f32>;           // [cols]
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
    if token >= arrayLength(&largest) {
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
    var most = 0.0;
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
        most = max(most, abs(y));
        shared_values[thread] = abs(y);
        workgroupBarrier();
        let block = thread / 32u * 32u;
        var of_block = 0.0;
        for (var i = 0u; i < 32u; i++) {
            of_block = max(of_block, shared_values[block + i]);
        }
        if c < p.cols {
            var stepped = 0.0;
            if of_block >= 1e-30 {
                stepped = round(y * (127.0 / of_block)) * (of_block / 127.0);
            }
            steps_out[token * p.cols + c] = stepped;
        }
        workgroupBarrier();
    }
    shared_values[thread] = most;
    for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            shared_values[thread] = max(shared_values[thread], shared_values[thread + step]);
        }
    }
    if thread == 0u {
        largest[token] = shared_values[0];
    }
}
