//! The one place that decides how guest code is compiled, bounded and interrupted.

use super::ticker::Ticker;
use rustix::time::{ClockId, clock_gettime};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Config, Engine, OptLevel};

/// How often calls are looked at: one that goes on beyond its deadline has at most two of these more.
///
/// Each look interrupts a thread that serves clients. At a million decisions a second, every millisecond took 16 ns of
/// each.
pub(super) const TICK: Duration = Duration::from_millis(3);

/// Deepest guest stack. The default of 512 KiB is a quarter of a worker thread's stack.
const WASM_STACK_BYTES: usize = 256 * 1024;

/// Bytes a guest may hand to the host in one call or import. The default of 128 MiB lets a 2 MiB guest return 120
/// overlapping strings of 1 MiB, which the host would copy.
pub(super) const HOSTCALL_BYTES_MAX: usize = 64 * 1024;

/// An engine, and the clock of its deadlines.
///
/// # Errors
/// When this machine cannot have one.
pub(super) fn start() -> Result<(Engine, Arc<Ticker>), String> {
    let engine = Engine::new(&config()).map_err(|error| format!("the WebAssembly engine: {error:#}"))?;
    let ticker = Ticker::start(&engine)?;
    Ok((engine, ticker))
}

/// An engine for looking at modules without running them.
pub(super) fn for_inspection() -> Result<Engine, String> {
    Engine::new(&config()).map_err(|error| format!("the WebAssembly engine: {error:#}"))
}

fn config() -> Config {
    let mut config = Config::new();
    config
        // On (the default) every call costs 540 instead of 145 ns (bytecodealliance/wasmtime#12836).
        .concurrency_support(false)
        // Bounds every call in time. Costs about 10 %; fuel would cost far more.
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        // Policies are compiled once and called millions of times.
        .cranelift_opt_level(OptLevel::Speed)
        // A fault names the guest's functions, the innermost few.
        .wasm_backtrace_max_frames(NonZeroUsize::new(8))
        // Policies need none of these; each is code in the engine that hostile modules could reach.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        // A load must not take every core from the clients.
        .parallel_compilation(false);
    // `wasm_threads` and `wasm_gc` are compiled out (wasmtime's features in Cargo.toml); tests/policy check it.
    //
    // Instances are allocated on demand. A pool would reserve slots for the worst case at start, its reset is the
    // subject of several advisories, and it saves 6 us on something that happens once in thousands of calls and off
    // the hot path: there is a spare.
    config
}

/// CPU time this thread has used.
pub(in crate::policy) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles a core module.
    fn compile(wat: &str) -> wasmtime::Result<wasmtime::Module> {
        wasmtime::Module::new(&for_inspection().unwrap(), wat::parse_str(wat).unwrap())
    }

    #[test]
    fn features_that_policies_do_not_need_are_off() {
        assert!(compile("(module (memory 1))").is_ok());
        for (feature, wat) in [
            ("memory64", "(module (memory i64 1))"),
            ("multi-memory", "(module (memory 1) (memory 1))"),
            ("threads", "(module (memory 1 1 shared))"),
            ("gc", "(module (type (struct (field i32))))"),
            ("tail calls", "(module (func $f return_call $f))"),
            (
                "relaxed simd",
                "(module (func (param v128 v128) (result v128) \
                 local.get 0 local.get 1 i8x16.relaxed_swizzle))",
            ),
        ] {
            assert!(compile(wat).is_err(), "{feature} is on");
        }
    }

    #[test]
    fn the_settings_are_those_that_were_decided() {
        let engine = for_inspection().unwrap();
        assert!(!engine.get_concurrency_support());
        assert!(engine.get_epoch_interruption());
        assert_eq!(engine.get_max_wasm_stack(), 256 * 1024);
        assert!(matches!(engine.get_cranelift_opt_level(), Some(OptLevel::Speed)));
        assert!(engine.get_pooling_config().is_none());
    }
}
