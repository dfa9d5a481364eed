//! Running policies with wasmtime. Nothing outside this folder names it.

mod bindings;
mod call;
mod convert;
mod convert_asking;
mod engine;
mod host;
mod inert_wasi;
mod load;
mod module_cache;
mod ticker;

pub(super) use call::{Instance, Patience, RefreshSubject, Surroundings};
pub(super) use engine::thread_cpu_time;
pub use load::Inspection;
pub(super) use load::{Loader, Program, digest, inspect};
pub(super) use module_cache::ModuleCache;
