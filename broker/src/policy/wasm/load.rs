//! From the bytes of a file to a program that can be instantiated, or to a clear no.

use super::bindings::exports::sluice::policy as exported;
use super::engine;
use super::host::{self, HostState};
use super::inert_wasi;
use super::module_cache::ModuleCache;
use super::ticker::Ticker;
use crate::policy::notice::{PolicyErrorKind, printable};
use crate::policy::spec::{Capability, CapabilitySet};
use sha2::{Digest as _, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};
use wit_component::ComponentEncoder;

/// The version of `sluice:policy` that this broker speaks.
pub(super) const INTERFACE_VERSION: &str = "0.1.0";
const INTERFACE: &str = "sluice:policy/";

/// What loading needs besides the module.
pub(in crate::policy) struct Loader {
    engine: Engine,
    ticker: Arc<Ticker>,
    pub(in crate::policy) cache: Option<ModuleCache>,
}

/// A module that is compiled, inspected and linked.
pub(in crate::policy) struct Program {
    pub(super) pre: InstancePre<HostState>,
    /// Of the engine it is made for.
    pub(super) ticker: Arc<Ticker>,
    pub(super) setup: exported::setup::GuestIndices,
    pub(super) connect: Option<ConnectIndices>,
    pub(super) publish: Option<exported::publish::GuestIndices>,
    pub(super) publish_many: Option<exported::publish_many::GuestIndices>,
    pub(super) subscribe: Option<exported::subscribe::GuestIndices>,
    pub(super) content: Option<exported::content::GuestIndices>,
    pub(super) events: Option<exported::events::GuestIndices>,
    pub(in crate::policy) inspection: Inspection,
    /// Time to compile it or to read it from the cache.
    pub(in crate::policy) compile_took: Duration,
    /// A module cache that failed, for the log.
    pub(in crate::policy) cache_problem: Option<String>,
}

/// Where a module's connect hooks are: policies that ask services have an interface of their own, and those made before
/// it existed go on with the one they have.
pub(super) enum ConnectIndices {
    Plain(exported::connect::GuestIndices),
    Asking(exported::asking::GuestIndices),
}

/// What a module is and wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of the module, lower-case hexadecimal.
    pub digest: String,
    /// Its size.
    pub bytes: usize,
    /// A component, rather than a core module with an embedded interface.
    pub is_component: bool,
    /// The hook interfaces it exports, of `connect`, `publish`, `subscribe`, `content` and `events`.
    pub hooks: Vec<&'static str>,
    /// Whether its connect hooks are those of policies that ask services, `asking` rather than `connect`.
    pub asks: bool,
    /// Whether it judges several messages with one call, `publish-many`, besides one with `publish`.
    pub judges_many: bool,
    /// The capabilities it imports.
    pub capabilities: CapabilitySet,
    /// Whether it was made with a WASI toolchain.
    pub wasi: bool,
}

/// The SHA-256 of a module, lower-case hexadecimal.
pub(in crate::policy) fn digest(wasm: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(wasm) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Looks at a module without running it. Capabilities it wants are listed, not refused.
///
/// # Errors
/// When no policy host could load it.
pub(in crate::policy) fn inspect(wasm: &[u8]) -> Result<Inspection, PolicyErrorKind> {
    let engine = engine::for_inspection().map_err(PolicyErrorKind::Host)?;
    guarded(|| {
        let component = compile(&engine, wasm)?;
        check(&engine, &component, wasm, Capability::ALL.into_iter().collect())
    })
}

impl Loader {
    /// A loader without a cache.
    ///
    /// # Errors
    /// When the engine cannot be made on this machine.
    pub(in crate::policy) fn start() -> Result<Self, String> {
        let (engine, ticker) = engine::start()?;
        Ok(Self {
            engine,
            ticker,
            cache: None,
        })
    }

    /// Compiles, inspects and links a module. Runs nothing of it.
    ///
    /// # Errors
    /// When it is not a policy, or wants what it was not granted.
    pub(in crate::policy) fn load(
        &self,
        wasm: &[u8],
        bytes_max: usize,
        capabilities: CapabilitySet,
    ) -> Result<Program, PolicyErrorKind> {
        if wasm.len() > bytes_max {
            return Err(PolicyErrorKind::TooLarge {
                bytes: wasm.len(),
                bytes_max,
            });
        }
        guarded(|| self.load_unguarded(wasm, capabilities))
    }

    fn load_unguarded(&self, wasm: &[u8], capabilities: CapabilitySet) -> Result<Program, PolicyErrorKind> {
        let started = Instant::now();
        let digest = digest(wasm);
        let cached = self
            .cache
            .as_ref()
            .and_then(|cache| cache.get(&self.engine, &digest));
        let is_new = cached.is_none();
        let component = match cached {
            Some(component) => component,
            None => compile(&self.engine, wasm)?,
        };
        let compile_took = started.elapsed();
        let inspection = check(&self.engine, &component, wasm, capabilities)?;
        let pre = link(&self.engine, &component, capabilities).map_err(invalid)?;
        // Only what was accepted is worth keeping.
        let cache_problem = self
            .cache
            .as_ref()
            .filter(|_| is_new)
            .and_then(|cache| cache.put(&self.engine, &digest, &component).err());
        macro_rules! hook {
            ($name:ident) => {
                inspection
                    .hooks
                    .contains(&stringify!($name))
                    .then(|| exported::$name::GuestIndices::new(&pre).map_err(wrong_type))
                    .transpose()?
            };
        }
        let connect = match inspection.hooks.contains(&"connect") {
            false => None,
            true if inspection.asks => Some(ConnectIndices::Asking(
                exported::asking::GuestIndices::new(&pre).map_err(wrong_type)?,
            )),
            true => Some(ConnectIndices::Plain(
                exported::connect::GuestIndices::new(&pre).map_err(wrong_type)?,
            )),
        };
        Ok(Program {
            setup: exported::setup::GuestIndices::new(&pre).map_err(wrong_type)?,
            connect,
            publish: hook!(publish),
            publish_many: match inspection.judges_many {
                true => Some(exported::publish_many::GuestIndices::new(&pre).map_err(wrong_type)?),
                false => None,
            },
            subscribe: hook!(subscribe),
            content: hook!(content),
            events: hook!(events),
            pre,
            ticker: Arc::clone(&self.ticker),
            inspection,
            compile_took,
            cache_problem,
        })
    }
}

/// A bug in a parser or compiler that a hostile module provokes must not reach the caller.
fn guarded<R>(load: impl FnOnce() -> Result<R, PolicyErrorKind>) -> Result<R, PolicyErrorKind> {
    catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
        Err(PolicyErrorKind::Invalid(
            "the module makes the compiler panic".into(),
        ))
    })
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component, PolicyErrorKind> {
    // The four bytes after the magic number: version 1 is a core module, 0x1_000d a component.
    match wasm.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Component::from_binary(engine, wasm).map_err(invalid),
        Some(b"\0asm\x01\0\0\0") => {
            let component = ComponentEncoder::default()
                .validate(true)
                .module(wasm)
                .and_then(|encoder| encoder.encode())
                .map_err(|error| PolicyErrorKind::NoInterface(printable(&format!("{error:#}"))))?;
            Component::from_binary(engine, &component).map_err(invalid)
        }
        _ => Err(PolicyErrorKind::Invalid(
            "it does not begin like a WebAssembly binary".into(),
        )),
    }
}

fn invalid(error: wasmtime::Error) -> PolicyErrorKind {
    PolicyErrorKind::Invalid(printable(&format!("{error:#}")))
}

pub(super) fn wrong_type(error: wasmtime::Error) -> PolicyErrorKind {
    PolicyErrorKind::WrongType(printable(&format!("{error:#}")))
}

/// Holds imports and exports against what there is and what is granted.
fn check(
    engine: &Engine,
    component: &Component,
    wasm: &[u8],
    granted: CapabilitySet,
) -> Result<Inspection, PolicyErrorKind> {
    let ty = component.component_type();
    let mut capabilities = CapabilitySet::default();
    let mut wasi = false;
    for (import, item) in ty.imports(engine) {
        if import.starts_with("wasi:") && matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            wasi = true;
            continue;
        }
        let unknown = || PolicyErrorKind::UnknownImport(printable(import));
        let interface = interface_name(import)?.ok_or_else(unknown)?;
        if !matches!(interface, "types" | "services" | "log") {
            let capability: Capability = interface.parse().map_err(|_| unknown())?;
            if !granted.contains(capability) {
                return Err(PolicyErrorKind::NotGranted(capability));
            }
            capabilities = capabilities.with(capability);
        }
    }
    let mut has_setup = false;
    let mut hooks = Vec::new();
    let mut asks = false;
    let mut judges_many = false;
    for (export, _) in ty.exports(engine) {
        let known = ["connect", "publish", "subscribe", "content", "events"];
        match interface_name(export)? {
            Some("setup") => has_setup = true,
            Some("asking") => asks = true,
            Some("publish-many") => judges_many = true,
            Some(name) => hooks.extend(known.into_iter().find(|hook| *hook == name)),
            None => {}
        }
    }
    if asks && !hooks.contains(&"connect") {
        hooks.push("connect");
    }
    // Without `publish` there would be nobody to ask about one message.
    judges_many &= hooks.contains(&"publish");
    if !has_setup {
        return Err(PolicyErrorKind::NoSetup);
    }
    if hooks.is_empty() {
        return Err(PolicyErrorKind::NoHook);
    }
    Ok(Inspection {
        digest: digest(wasm),
        bytes: wasm.len(),
        is_component: wasm.get(4) == Some(&0x0d),
        hooks,
        asks,
        judges_many,
        capabilities,
        wasi,
    })
}

/// The name of an interface of ours, in our version.
fn interface_name(item: &str) -> Result<Option<&str>, PolicyErrorKind> {
    let Some(rest) = item.strip_prefix(INTERFACE) else {
        return Ok(None);
    };
    let (name, version) = rest.split_once('@').unwrap_or((rest, "(none)"));
    if version == INTERFACE_VERSION {
        return Ok(Some(name));
    }
    Err(PolicyErrorKind::Version {
        interface: printable(&format!("{INTERFACE}{name}")),
        required: printable(version),
        available: INTERFACE_VERSION.into(),
    })
}

fn link(
    engine: &Engine,
    component: &Component,
    capabilities: CapabilitySet,
) -> wasmtime::Result<InstancePre<HostState>> {
    let mut linker = Linker::new(engine);
    host::link(&mut linker, capabilities)?;
    for (import, item) in component.component_type().imports(engine) {
        if let ComponentItem::ComponentInstance(imported) = &item.ty
            && import.starts_with("wasi:")
        {
            inert_wasi::link(
                &mut linker.instance(import)?,
                engine,
                import,
                imported,
                capabilities,
            )?;
        }
    }
    linker.instantiate_pre(component)
}
