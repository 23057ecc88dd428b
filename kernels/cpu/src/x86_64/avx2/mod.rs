//! AVX2 with FMA and F16C: 8 lanes, byte products summed into 16-bit lanes.

mod attend;
mod linear_f;
mod linear_q;
mod math;
mod norm;
mod q4_0;
mod q4_k;
mod q5_0;
mod q6_k;
mod q8_0;
mod quantize;
mod rope;
mod rows;
mod silu;

use self::linear_q::{Avx2, Signed, Unsigned};
use self::rows::LANES;
use crate::table::{Kernels, LinearQFn};
use crate::x86_64::linear_q::{Blocks, linear_any, linear_q};
use qwip_quant::TensorType;

/// Puts these kernels into the table. To be called only where `Isa::Avx2` is supported.
pub(crate) fn install(kernels: &mut Kernels) {
    // SAFETY: the table is handed out only after the features were detected; the same holds below.
    kernels.quantize = |x, codes, scales, sums| unsafe { quantize::quantize(x, codes, scales, sums) };
    // SAFETY: see above.
    kernels.linear_f = |w, rows, x, n, out| unsafe { linear_f::linear_f(w, rows, x, n, out) };
    // SAFETY: see above.
    kernels.norm = |x, w, eps, out| unsafe { norm::rms_norm(x, w, eps, out) };
    // SAFETY: see above.
    kernels.rope = |x, cos, sin| unsafe { rope::rope(x, cos, sin) };
    // SAFETY: see above.
    kernels.silu_mul = |gate, up| unsafe { silu::silu_mul(gate, up) };
    kernels.attend_tile = |q, d, k, v, valid, m, l, o| {
        // SAFETY: see above.
        unsafe { attend::attend_tile(q, d, k, v, valid, m, l, o) }
    };
    for id in 0..64 {
        let Some(ty) = TensorType::from_id(id) else { continue };
        if let Some(kernel) = any(ty) {
            kernels.set_linear_q(ty, kernel);
        }
    }
    kernels.set_linear_q(TensorType::Q8_0, own::<q8_0::Q8_0, 1, 0, 1>());
    kernels.set_linear_q(TensorType::Q4_0, own::<q4_0::Q4_0, 1, 0, 1>());
    kernels.set_linear_q(TensorType::Q5_0, own::<q5_0::Q5_0, 1, 0, 1>());
    kernels.set_linear_q(TensorType::Q4K, own::<q4_k::Q4K, 1, 1, 2>());
    kernels.set_linear_q(TensorType::Q6K, own::<q6_k::Q6K, 2, 0, 4>());
}

/// The kernel of a type that is unpacked in registers.
fn own<F, const G: usize, const M: usize, const S: usize>() -> LinearQFn
where
    F: Blocks<LANES, G, M, S>,
{
    // SAFETY: in the table only after the features were detected.
    |w, rows, x, out, scratch| unsafe { linear_q::<Avx2, F, LANES, G, M, S>(w, rows, x, out, scratch) }
}

/// The kernel of any other quantized type, by groups per step and whether there are minimums.
fn any(ty: TensorType) -> Option<LinearQFn> {
    Some(match (ty.group_len()?, ty.has_min()) {
        // SAFETY: in the table only after the features were detected; the same holds below.
        (32, false) => |w, r, x, o, s| unsafe { linear_any::<Avx2, Signed, LANES, 1, 0>(w, r, x, o, s) },
        // SAFETY: see above.
        (32, true) => |w, r, x, o, s| unsafe { linear_any::<Avx2, Unsigned, LANES, 1, 1>(w, r, x, o, s) },
        // SAFETY: see above.
        (16, false) => |w, r, x, o, s| unsafe { linear_any::<Avx2, Signed, LANES, 2, 0>(w, r, x, o, s) },
        // SAFETY: see above.
        (16, true) => |w, r, x, o, s| unsafe { linear_any::<Avx2, Unsigned, LANES, 2, 2>(w, r, x, o, s) },
        _ => return None,
    })
}
