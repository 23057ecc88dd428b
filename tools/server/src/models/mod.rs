//! Which models are loaded: loading on demand, unloading after a while of silence, a limit on memory.
