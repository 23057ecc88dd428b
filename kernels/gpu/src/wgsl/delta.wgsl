// The recurrence of a delta net: for each token in order, a value head's matrix S [key_dim, value_dim] is multiplied by a
// decay, learns beta * (v - k S) at k, and answers q S.
//
// The columns of S do not know of each other: a workgroup takes 32 of them, in eight parts of ROWS rows, a column's rows
// of a part in the registers of one thread. What the memory holds for key and query is summed before it changes, so that
// a token takes one exchange between the parts: q (d S + k x) = d (q S) + (q . k) x.

struct Params {
    n: u32,
    keys: u32,
    values: u32,
    key_dim: u32,
    value_dim: u32,
    taps: u32,
    tiled: u32,    // value head h belongs to key head h % keys if 1, to h / (values / keys) if 0
    snapshot: u32, // after so many tokens
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;        // [n, channels]; answers take the values' places
@group(0) @binding(1) var<storage, read> factors: array<vec4<f32>>;  // [n, values]: decay, beta, query . key
@group(0) @binding(2) var<storage, read> u: array<f32>;              // [n, channels], before the convolution
@group(0) @binding(3) var<storage, read_write> kept: array<f32>;     // [taps - 1, channels], the oldest first
@group(0) @binding(4) var<storage, read_write> matrices: array<f32>; // [values, value_dim / 32, key_dim, 32]
#if SNAPSHOT
@group(0) @binding(5) var<storage, read_write> kept_copy: array<f32>;
@group(0) @binding(6) var<storage, read_write> matrices_copy: array<f32>;
#endif
var<immediate> p: Params;

const ROWS = {ROWS}u;
const COLUMNS = 32u;
const PARTS = 8u;
const THREADS = COLUMNS * PARTS;
const FOURS = ROWS / 4u;
const TOKENS = THREADS / (PARTS * FOURS); // that are brought at a time: four numbers of query and key for each thread

var<workgroup> queries: array<vec4<f32>, THREADS>; // [TOKENS, PARTS, FOURS]; zeros beyond key_dim
var<workgroup> keys: array<vec4<f32>, THREADS>;
var<workgroup> values: array<f32, TOKENS * COLUMNS>;
var<workgroup> rates: array<vec4<f32>, TOKENS>;
var<workgroup> partial: array<vec2<f32>, 2u * THREADS>; // of even and of odd tokens: key and query with a part's rows

// A number of the query or key that starts at `first`.
fn element(first: u32, row: u32) -> f32 {
    if row < p.key_dim {
        return y[first + row];
    }
    return 0.0;
}

fn four(first: u32, row: u32) -> vec4<f32> {
    return vec4<f32>(
        element(first, row),
        element(first, row + 1u),
        element(first, row + 2u),
        element(first, row + 3u),
    );
}

// A number of the column that starts at `first`.
fn remembered(first: u32, row: u32) -> f32 {
    if row < p.key_dim {
        return matrices[first + row * COLUMNS];
    }
    return 0.0;
}

// A channel of row i of the kept rows followed by the tokens.
fn input(i: u32, c: u32, channels: u32) -> f32 {
    if i + 1u < p.taps {
        return kept[i * channels + c];
    }
    return u[(i + 1u - p.taps) * channels + c];
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = id.x + id.y * count.x;
    let blocks = p.value_dim / COLUMNS;
    if group >= p.values * blocks {
        return;
    }
    let width = p.keys * p.key_dim;
    let channels = 2u * width + p.values * p.value_dim;
    let head = group / blocks;
    var key_head = head / (p.values / p.keys);
    if p.tiled != 0u {
        key_head = head % p.keys;
    }
    let first_value = 2u * width + group * COLUMNS;
    let column = local % COLUMNS;
    let part = local / COLUMNS;
    let memory = group * p.key_dim * COLUMNS + column;

    var s: array<vec4<f32>, FOURS>;
    for (var i = 0u; i < FOURS; i++) {
        let row = part * ROWS + 4u * i;
        s[i] = vec4<f32>(
            remembered(memory, row),
            remembered(memory, row + 1u),
            remembered(memory, row + 2u),
            remembered(memory, row + 3u),
        );
    }

    for (var first = 0u; first < p.n; first += TOKENS) {
        let tokens = min(TOKENS, p.n - first);
        let of_thread = local / (PARTS * FOURS);
        if of_thread < tokens {
            let start = (first + of_thread) * channels + key_head * p.key_dim;
            let row = 4u * (local % (PARTS * FOURS));
            queries[local] = four(start, row);
            keys[local] = four(start + width, row);
        }
        if local < tokens * COLUMNS {
            values[local] = y[(first + local / COLUMNS) * channels + first_value + column];
        }
        if local < tokens {
            rates[local] = factors[(first + local) * p.values + head];
        }
        workgroupBarrier();

        for (var t = 0u; t < tokens; t++) {
            let mine = (t * PARTS + part) * FOURS;
            var held = 0.0;
            var asked = 0.0;
            for (var i = 0u; i < FOURS; i++) {
                held += dot(s[i], keys[mine + i]);
                asked += dot(s[i], queries[mine + i]);
            }
            // One half is written while the other may still be read: the barrier of a token lies between.
            let half = ((first + t) & 1u) * THREADS;
            partial[half + local] = vec2<f32>(held, asked);
            workgroupBarrier();
            var sum = partial[half + column];
            for (var i = 1u; i < PARTS; i++) {
                sum += partial[half + i * COLUMNS + column];
            }
            let rate = rates[t];
            let learnt = (values[t * COLUMNS + column] - rate.x * sum.x) * rate.y;
            for (var i = 0u; i < FOURS; i++) {
                s[i] = fma(keys[mine + i], vec4<f32>(learnt), s[i] * rate.x);
            }
            if part == 0u {
                y[(first + t) * channels + first_value + column] = fma(rate.z, learnt, rate.x * sum.y);
            }
#if SNAPSHOT
            if first + t + 1u == p.snapshot {
                for (var i = 0u; i < FOURS; i++) {
                    for (var j = 0u; j < 4u; j++) {
                        let row = part * ROWS + 4u * i + j;
                        if row < p.key_dim {
                            matrices_copy[memory + row * COLUMNS] = s[i][j];
                        }
                    }
                }
            }
#endif
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < FOURS; i++) {
        for (var j = 0u; j < 4u; j++) {
            let row = part * ROWS + 4u * i + j;
            if row < p.key_dim {
                matrices[memory + row * COLUMNS] = s[i][j];
            }
        }
    }

    // The last rows before the convolution. A thread has all rows of its channels, and writes none that it still reads.
    for (var c = group * THREADS + local; c < channels; c += p.values * blocks * THREADS) {
#if SNAPSHOT
        for (var i = 0u; i + 1u < p.taps; i++) {
            kept_copy[i * channels + c] = input(p.snapshot + i, c, channels);
        }
#endif
        for (var i = 0u; i + 1u < p.taps; i++) {
            kept[i * channels + c] = input(p.n + i, c, channels);
        }
    }
}
