// The k largest logits of a part of the vocabulary, best first, of equal ones the lowest ids: after the penalties, of those
// that are allowed, and never NaN or negative infinity. A workgroup takes 2048 tokens.

#include "best.wgsl"

struct Params {
    vocab: u32,
    k: u32,
    masked: u32,        // 1 if `allowed` counts
    seen: u32,          // how many were seen lately
    repeat: f32,
    presence: f32,
    frequency: f32,
    sharpness: f32,     // 1 / temperature
}

@group(0) @binding(0) var<storage, read> logits: array<u32>;  // [vocab], the bits of f32
@group(0) @binding(1) var<storage, read> allowed: array<u32>; // [vocab / 32], bit set: allowed
@group(0) @binding(2) var<storage, read> seen: array<u32>;    // [seen, 2]: id, ascending, and how often
// For each part, k + 2 pairs: the sum of exp((logit - largest) * sharpness) as bits of f32 and how many could have been
// chosen; how many logits of all were not finite, and 0; then places and ids of the best.
@group(0) @binding(3) var<storage, read_write> parts: array<vec2<u32>>;
var<immediate> p: Params;

const PART = 2048u;
const INFINITE = 0x7f800000u;
var<workgroup> places: array<u32, PART>;

// The first of some of those seen, in ascending order, whose id is not below `token`.
fn first_seen(token: u32, begin: u32, end: u32) -> u32 {
    var low = begin;
    var high = end;
    while low < high {
        let middle = (low + high) / 2u;
        if seen[2u * middle] < token {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}

// The bits of a token's logit after the penalties; `begin` and `end` say where to look for it among those seen.
fn penalised(token: u32, bits: u32, begin: u32, end: u32) -> u32 {
    let at = first_seen(token, begin, end);
    if at == end || (bits & INFINITE) == INFINITE {
        return bits;
    }
    if seen[2u * at] != token {
        return bits;
    }
    let x = bitcast<f32>(bits);
    let scaled = select(x * p.repeat, x / p.repeat, x > 0.0);
    return bitcast<u32>(scaled - (p.presence + p.frequency * f32(seen[2u * at + 1u])));
}

// A thread's best.
fn best_of_mine(local: u32, first: u32) -> vec2<u32> {
    var found = vec2<u32>(0u);
    for (var i = local; i < PART; i += THREADS) {
        found = better(found, vec2<u32>(places[i], first + i));
    }
    return found;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let part = id.x + id.y * count.x;
    let first = part * PART;
    if first >= p.vocab {
        return;
    }
    let begin = first_seen(first, 0u, p.seen);
    let end = first_seen(first + PART, begin, p.seen);
    var mine = vec3<f32>(0.0);
    for (var i = local; i < PART; i += THREADS) {
        let token = first + i;
        places[i] = 0u;
        if token >= p.vocab {
            continue;
        }
        let raw = logits[token];
        mine.z += f32(u32((raw & INFINITE) == INFINITE));
        if p.masked != 0u && (allowed[token / 32u] >> (token % 32u) & 1u) == 0u {
            continue;
        }
        var bits = penalised(token, raw, begin, end);
        if bits == 0xff800000u || (bits & 0x7fffffffu) > INFINITE {
            continue;
        }
        // The single best is found by comparing numbers, and both zeros are equal.
        if p.k == 1u && bits == 0x80000000u {
            bits = 0u;
        }
        places[i] = place(bits);
    }

    let at = part * (p.k + 2u);
    var candidate = best_of_mine(local, first);
    for (var i = 0u; i < p.k; i++) {
        let found = best(local, candidate);
        if i == 0u {
            let largest = bitcast<f32>(logit(found.x));
            for (var j = local; j < PART; j += THREADS) {
                if places[j] != 0u {
                    mine += vec3<f32>(exp((bitcast<f32>(logit(places[j])) - largest) * p.sharpness), 1.0, 0.0);
                }
            }
        }
        if local == 0u {
            parts[at + 2u + i] = found;
        }
        if found.x != 0u && (found.y - first) % THREADS == local {
            places[found.y - first] = 0u;
            candidate = best_of_mine(local, first);
        }
    }
    let sum = total(local, mine);
    if local == 0u {
        parts[at] = vec2<u32>(bitcast<u32>(sum.x), u32(sum.y));
        parts[at + 1u] = vec2<u32>(u32(sum.z), 0u);
    }
}
