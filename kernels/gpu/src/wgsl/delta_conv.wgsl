// What a delta net makes of its projections before the memory is asked: the convolution of each channel with its silu,
// the norms of query and key heads, and for each value head the numbers that say what is forgotten and learnt.
//
// A workgroup takes one token of one key head (its queries, its keys, the factors of its value heads) or of one value
// head.

struct Params {
    n: u32,
    keys: u32,
    values: u32,
    key_dim: u32,
    value_dim: u32,
    taps: u32,
    tiled: u32,    // value head h belongs to key head h % keys if 1, to h / (values / keys) if 0
    beta_at: u32,  // where the first token's numbers start
    alpha_at: u32,
    stride: u32,   // of both: from token to token
    span: u32,     // of both: from the value heads of one key head to those of the next
}

@group(0) @binding(0) var<storage, read> u: array<f32>;       // [n, channels]
@group(0) @binding(1) var<storage, read> kept: array<f32>;    // [taps - 1, channels], the oldest first
@group(0) @binding(2) var<storage, read> taps: array<f32>;    // [taps, channels]
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read> alpha: array<f32>;
@group(0) @binding(5) var<storage, read> forget: array<f32>;  // [2, values]: rates, then biases
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [n, channels]
@group(0) @binding(7) var<storage, read_write> factors: array<vec4<f32>>; // [n, values]: decay, beta, query . key
var<immediate> p: Params;

const THREADS = 64u;
var<workgroup> sums: array<vec3<f32>, THREADS>;

// Channel c of token t, convolved.
fn convolved(t: u32, c: u32, channels: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < p.taps; i++) {
        let row = t + i; // of the kept rows followed by the tokens
        var x: f32;
        if row + 1u < p.taps {
            x = kept[row * channels + c];
        } else {
            x = u[(row + 1u - p.taps) * channels + c];
        }
        sum = fma(taps[i * channels + c], x, sum);
    }
    return sum / (1.0 + exp(-sum));
}

// ln(1 + exp(x)). The series of the logarithm keeps what is small: 1 + e would round it away, and with it all forgetting.
fn softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    let z = e / (2.0 + e);
    let q = z * z;
    let series = 1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q / 13.0)))));
    return max(x, 0.0) + 2.0 * z * series;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let heads = p.keys + p.values;
    let group = id.x + id.y * count.x;
    let t = group / heads;
    let head = group % heads;
    let width = p.keys * p.key_dim;
    let channels = 2u * width + p.values * p.value_dim;
    if t >= p.n {
        return;
    }
    let row = t * channels;
    if head >= p.keys {
        let first = 2u * width + (head - p.keys) * p.value_dim;
        for (var i = local; i < p.value_dim; i += THREADS) {
            y[row + first + i] = convolved(t, first + i, channels);
        }
        return;
    }

    let first = head * p.key_dim;
    var sum = vec3<f32>(0.0); // of squares of the query, of the key, of their products
    for (var i = first + local; i < first + p.key_dim; i += THREADS) {
        let q = convolved(t, i, channels);
        let k = convolved(t, width + i, channels);
        sum += vec3<f32>(q * q, k * k, q * k);
        y[row + i] = q;
        y[row + width + i] = k;
    }
    sums[local] = sum;
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local < step {
            sums[local] += sums[local + step];
        }
    }
    workgroupBarrier();
    let total = sums[0];
    let q_scale = inverseSqrt(total.x + 1e-6) * inverseSqrt(f32(p.key_dim));
    let k_scale = inverseSqrt(total.y + 1e-6);
    for (var i = first + local; i < first + p.key_dim; i += THREADS) {
        y[row + i] *= q_scale;
        y[row + width + i] *= k_scale;
    }

    let values = p.values / p.keys;
    for (var i = local; i < values; i += THREADS) {
        var h = head * values + i;
        if p.tiled != 0u {
            h = i * p.keys + head;
        }
        let at = t * p.stride + h / values * p.span + h % values;
        let decay = exp(forget[h] * softplus(alpha[p.alpha_at + at] + forget[p.values + h]));
        let learn = 1.0 / (1.0 + exp(-beta[p.beta_at + at]));
        factors[t * p.values + h] = vec4<f32>(decay, learn, total.z * q_scale * k_scale, 0.0);
    }
}
