// Chooses a token's experts and weighs them. An expert is chosen if fewer than `used` others go before it: those with a
// larger logit, or an equal one and a lower id. That is a total order of bit patterns, so always exactly `used` are
// chosen, whatever the logits are. A workgroup takes one token.

struct Params {
    n: u32,
    experts: u32, // at most 2048
    used: u32,
    normalise: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<u32>;         // [n, experts], the bits of f32
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;      // [n, used], ascending
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;  // [n, used]
var<immediate> p: Params;

const THREADS = 256u;
const INFINITE = 0x7f800000u;
var<workgroup> order: array<vec4<u32>, 512>;      // a larger logit has a larger number
var<workgroup> chosen: array<atomic<u32>, 64>;    // a bit for each expert
var<workgroup> spoilt: atomic<u32>;               // a logit is NaN or infinite
var<workgroup> largest: u32;                      // the bits of the logit
var<workgroup> sums: array<f32, THREADS>;

// The place of a logit in the order; both zeros have the same.
fn place(bits: u32) -> u32 {
    if bits == 0x80000000u {
        return bits;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn place_of(first: u32, expert: u32) -> u32 {
    if expert >= p.experts {
        return 0u;
    }
    let bits = logits[first + expert];
    // Negative infinity is a logit like others, whose weight is 0.
    if (bits & INFINITE) == INFINITE && bits != 0xff800000u {
        atomicOr(&spoilt, 1u);
    }
    return place(bits);
}

// exp(logit - largest)
fn part(bits: u32) -> f32 {
    if bits == 0xff800000u {
        return 0.0;
    }
    return exp(bitcast<f32>(bits) - bitcast<f32>(largest));
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let t = id.x + id.y * count.x;
    if t >= p.n {
        return;
    }
    let first = t * p.experts;
    let fours = (p.experts + 3u) / 4u;
    if local < 64u {
        atomicStore(&chosen[local], 0u);
    }
    if local == 0u {
        atomicStore(&spoilt, 0u);
    }
    workgroupBarrier();
    for (var i = local; i < fours; i += THREADS) {
        order[i] = vec4<u32>(
            place_of(first, 4u * i),
            place_of(first, 4u * i + 1u),
            place_of(first, 4u * i + 2u),
            place_of(first, 4u * i + 3u),
        );
    }
    workgroupBarrier();

    for (var e = local; e < p.experts; e += THREADS) {
        let bits = logits[first + e];
        let mine = vec4<u32>(place(bits));
        var before = vec4<u32>(0u);
        for (var i = 0u; i < fours; i++) {
            let other = order[i];
            let lower = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(e);
            before += select(vec4<u32>(0u), vec4<u32>(1u), (other > mine) | ((other == mine) & lower));
        }
        let rank = before.x + before.y + before.z + before.w;
        if rank < p.used {
            atomicOr(&chosen[e / 32u], 1u << (e % 32u));
        }
        if rank == 0u {
            largest = bits;
        }
    }
    workgroupBarrier();

    var sum = 0.0;
    for (var e = local; e < p.experts; e += THREADS) {
        let is_chosen = (atomicLoad(&chosen[e / 32u]) >> (e % 32u) & 1u) == 1u;
        if p.normalise == 0u || is_chosen {
            sum += part(logits[first + e]);
        }
    }
    sums[local] = sum;
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local < step {
            sums[local] += sums[local + step];
        }
    }
    workgroupBarrier();

    let bad = atomicLoad(&spoilt) != 0u || largest == 0xff800000u;
    for (var e = local; e < p.experts; e += THREADS) {
        let word = atomicLoad(&chosen[e / 32u]);
        if (word >> (e % 32u) & 1u) == 0u {
            continue;
        }
        var at = t * p.used + countOneBits(word & ((1u << (e % 32u)) - 1u));
        for (var i = 0u; i < e / 32u; i++) {
            at += countOneBits(atomicLoad(&chosen[i]));
        }
        ids[at] = e;
        weights[at] = part(logits[first + e]) / sums[0] * p.scale;
        if bad {
            // Not a number, rather than a wrong one. The bits are not a constant, for which compilers refuse this.
            weights[at] = bitcast<f32>(0x7fc00000u | e);
        }
    }
}
