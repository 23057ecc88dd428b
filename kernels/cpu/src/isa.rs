//! Instruction sets: which ones exist, which one this machine has, and the override for tests and bisecting.

use std::fmt;

/// The environment variable that forces a kernel set. Empty or absent: the best one that the machine has.
pub const ISA_VARIABLE: &str = "QWIP_ISA";

/// A set of CPU instructions that kernels are written for, as a bundle of the features used together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Isa {
    /// Portable code, no assumption about the machine.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C (Intel Haswell 2013, AMD Zen 2017 and later).
    Avx2,
    /// x86-64 with that and the 8-bit dot product on 256 bits (Intel Alder Lake 2021, AMD Zen 5 2024 and later;
    /// also those with AVX-512 VNNI and VL).
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI (Intel Cascade Lake 2019, AMD Zen 4 2022 and later).
    Avx512Vnni,
    /// AArch64 with its base vector instructions.
    Neon,
    /// AArch64 with the 8-bit dot product (`sdot`).
    Dotprod,
    /// AArch64 with the 8-bit matrix product (`smmla`).
    I8mm,
}

impl Isa {
    /// Every instruction set, the least capable first within one architecture.
    pub const ALL: [Isa; 7] =
        [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512Vnni, Isa::Neon, Isa::Dotprod, Isa::I8mm];

    /// The name that `QWIP_ISA` takes and that reports show.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Neon => "neon",
            Isa::Dotprod => "dotprod",
            Isa::I8mm => "i8mm",
        }
    }

    /// The instruction set of that [`name`](Isa::name), in any case.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name))
    }

    /// Whether this machine has the instructions. It says nothing about whether we have kernels for them:
    /// that is [`Kernels::new`](crate::Kernels::new).
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => {
                Isa::Avx2.is_supported()
                    && (is_x86_feature_detected!("avxvnni")
                        || is_x86_feature_detected!("avx512f")
                            && is_x86_feature_detected!("avx512vl")
                            && is_x86_feature_detected!("avx512vnni"))
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                Isa::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Isa::Dotprod => Isa::Neon.is_supported() && std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Isa::I8mm => Isa::Dotprod.is_supported() && std::arch::is_aarch64_feature_detected!("i8mm"),
            _ => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the kernel set that `QWIP_ISA` names cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IsaError {
    /// No instruction set has this name.
    Unknown(String),
    /// This machine cannot run it, or this build has no kernels for it.
    Unavailable(Isa),
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsaError::Unknown(name) => {
                write!(f, "{ISA_VARIABLE}={name}: no such kernel set, expected one of")?;
                for isa in Isa::ALL {
                    write!(f, " {isa}")?;
                }
                Ok(())
            }
            IsaError::Unavailable(isa) => {
                write!(f, "{ISA_VARIABLE}={isa}: this machine cannot run that kernel set, it has")?;
                for kernels in crate::Kernels::available() {
                    write!(f, " {}", kernels.isa)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for IsaError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_any_case() {
        for isa in Isa::ALL {
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
            assert_eq!(Isa::from_name(&isa.name().to_uppercase()), Some(isa));
        }
        assert_eq!(Isa::from_name("mmx"), None);
        assert_eq!(Isa::from_name(""), None);
    }

    #[test]
    fn errors_name_the_wrong_value_and_the_right_ones() {
        let text = IsaError::Unknown("mmx".into()).to_string();
        assert!(text.contains("QWIP_ISA=mmx") && text.contains("avx512vnni"), "{text}");
        let text = IsaError::Unavailable(Isa::I8mm).to_string();
        assert!(text.contains("i8mm") && text.contains("scalar"), "{text}");
    }
}
