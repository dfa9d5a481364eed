//! A WASI that grants nothing, for components made with a WASI toolchain.
//!
//! Their standard library imports interfaces that a policy has no use for, and calls some of them as it starts. Here
//! the environment is empty, output is swallowed, time and randomness stand still unless granted, and everything else
//! traps when called. Which functions exist is read from the component: any 0.2.x version will do.

use super::host::{HostState, random_u64};
use crate::policy::spec::{Capability, CapabilitySet};
use std::time::{Instant, SystemTime};
use wasmtime::component::types::{ComponentInstance, ComponentItem, Type};
use wasmtime::component::{LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, Error, Result, StoreContextMut};

/// What every WASI resource is here.
struct Inert;

/// How much a policy may write to nowhere at once; a standard library loops until it may write.
const WRITABLE_BYTES: u64 = 64 * 1024;

/// Most bytes of `get-random-bytes`.
const RANDOM_BYTES_MAX: u64 = 4096;

/// Interfaces that answer; calling any other traps.
const ANSWERING: [&str; 14] = [
    "wasi:cli/environment",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:io/error",
    "wasi:io/streams",
];

/// Defines one imported `wasi:` interface.
pub(super) fn link(
    linker: &mut LinkerInstance<'_, HostState>,
    engine: &Engine,
    interface: &str,
    imported: &ComponentInstance,
    capabilities: CapabilitySet,
) -> Result<()> {
    let base = interface.split_once('@').map_or(interface, |(base, _)| base);
    for (name, item) in imported.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => {
                linker.resource(name, ResourceType::host::<Inert>(), |_, _| Ok(()))?;
            }
            ComponentItem::ComponentFunc(_) => {
                let answer = Reply::of(base, name, capabilities);
                let path = format!("{base}.{name}");
                linker.func_new(name, move |store, ty, params, results| {
                    answer.give(&path, store, ty.results(), params, results)
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a function answers.
#[derive(Clone, Copy)]
enum Reply {
    Trap,
    /// The emptiest value of its type.
    Nothing,
    Writable,
    Closed,
    Now,
    Elapsed,
    RandomBytes,
    RandomNumbers,
}

impl Reply {
    fn of(interface: &str, function: &str, capabilities: CapabilitySet) -> Self {
        match (interface, function) {
            ("wasi:io/streams", "[method]output-stream.check-write") => Self::Writable,
            ("wasi:io/streams", name) if name.starts_with("[method]input-stream.") => Self::Closed,
            ("wasi:clocks/wall-clock", "now") if capabilities.contains(Capability::Clock) => Self::Now,
            ("wasi:clocks/monotonic-clock", "now") if capabilities.contains(Capability::Clock) => {
                Self::Elapsed
            }
            // The seed of hash maps: it may be predictable, and is unless random numbers are granted.
            ("wasi:random/insecure-seed", _) => {
                if capabilities.contains(Capability::Random) {
                    Self::RandomNumbers
                } else {
                    Self::Nothing
                }
            }
            ("wasi:random/random" | "wasi:random/insecure", name)
                if capabilities.contains(Capability::Random) =>
            {
                if name.ends_with("-bytes") {
                    Self::RandomBytes
                } else {
                    Self::RandomNumbers
                }
            }
            _ if ANSWERING.contains(&interface) => Self::Nothing,
            _ => Self::Trap,
        }
    }

    fn give(
        self,
        path: &str,
        mut store: StoreContextMut<'_, HostState>,
        types: impl Iterator<Item = Type>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        for (slot, ty) in results.iter_mut().zip(types) {
            *slot = match self {
                Self::Trap => break,
                Self::Nothing => emptiest(&ty, &mut store)?,
                Self::Writable => Val::Result(Ok(Some(Box::new(Val::U64(WRITABLE_BYTES))))),
                Self::Closed => Val::Result(Err(Some(Box::new(Val::Variant("closed".into(), None))))),
                Self::Now => wall_clock(),
                Self::Elapsed => monotonic_clock(),
                Self::RandomBytes => random_bytes(params)?,
                Self::RandomNumbers => random_numbers(&ty)?,
            };
        }
        // Handles that were lent or given to the function end here.
        for param in params {
            if let Val::Resource(handle) = param {
                handle.resource_drop(&mut store)?;
            }
        }
        match self {
            Self::Trap => Err(Error::msg(format!("{path} is not available to policies"))),
            _ => Ok(()),
        }
    }
}

/// Zero, empty, none, or ok.
fn emptiest(ty: &Type, store: &mut StoreContextMut<'_, HostState>) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::U8 => Val::U8(0),
        Type::U16 => Val::U16(0),
        Type::U32 => Val::U32(0),
        Type::U64 => Val::U64(0),
        Type::S32 => Val::S32(0),
        Type::S64 => Val::S64(0),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Tuple(tuple) => Val::Tuple(
            tuple
                .types()
                .map(|ty| emptiest(&ty, store))
                .collect::<Result<_>>()?,
        ),
        Type::Record(record) => Val::Record(
            record
                .fields()
                .map(|field| Ok((field.name.to_owned(), emptiest(&field.ty, store)?)))
                .collect::<Result<_>>()?,
        ),
        Type::Result(result) => {
            let ok = result.ok().map(|ty| emptiest(&ty, store)).transpose()?;
            Val::Result(Ok(ok.map(Box::new)))
        }
        Type::Own(_) => Val::Resource(ResourceAny::try_from_resource(
            Resource::<Inert>::new_own(0),
            store,
        )?),
        _ => return Err(Error::msg("this WASI function is not available to policies")),
    })
}

fn wall_clock() -> Val {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Val::Record(vec![
        ("seconds".into(), Val::U64(now.as_secs())),
        ("nanoseconds".into(), Val::U32(now.subsec_nanos())),
    ])
}

fn monotonic_clock() -> Val {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Val::U64(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

fn random_bytes(params: &[Val]) -> Result<Val> {
    let Some(Val::U64(len)) = params.first() else {
        return Err(Error::msg("expected a length"));
    };
    if *len > RANDOM_BYTES_MAX {
        return Err(Error::msg(format!(
            "{len} random bytes at once; at most {RANDOM_BYTES_MAX} are given"
        )));
    }
    let words = (0..len.div_ceil(8))
        .map(|_| random_u64())
        .collect::<Result<Vec<_>>>()?;
    let bytes = words.into_iter().flat_map(u64::to_ne_bytes).map(Val::U8);
    Ok(Val::List(bytes.take(usize::try_from(*len)?).collect()))
}

fn random_numbers(ty: &Type) -> Result<Val> {
    Ok(match ty {
        Type::Tuple(tuple) => Val::Tuple(
            tuple
                .types()
                .map(|_| random_u64().map(Val::U64))
                .collect::<Result<_>>()?,
        ),
        _ => Val::U64(random_u64()?),
    })
}
