//! RMS norm.

use super::Simd;

/// See `reference::norm::rms_norm`.
pub(super) fn rms_norm<S: Simd, const P: usize>(s: S, x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    s.run(
        #[inline(always)]
        || {
            let (chunks, tail) = x.as_chunks::<16>();
            let mut lanes = [s.splat(0.0); P];
            for chunk in chunks {
                add_squares::<S, P>(s, chunk, &mut lanes);
            }
            if !tail.is_empty() {
                let mut last = [0.0; 16];
                last[..tail.len()].copy_from_slice(tail);
                // Squares are never -0, so the lanes behind the end keep their bits.
                add_squares::<S, P>(s, &last, &mut lanes);
            }
            let r = 1.0 / (s.tree16(&lanes) / x.len() as f32 + eps).sqrt();
            for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
                *out = (x * r) * w;
            }
        },
    );
}

#[inline(always)]
fn add_squares<S: Simd, const P: usize>(s: S, x: &[f32; 16], lanes: &mut [S::F; P]) {
    for p in 0..P {
        // SAFETY: LANES of sixteen floats.
        let v = unsafe { s.load(x.as_ptr().add(p * S::LANES)) };
        lanes[p] = s.fma(v, v, lanes[p]);
    }
}
