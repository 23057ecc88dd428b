//! What the bytes of a GGUF file mean.
