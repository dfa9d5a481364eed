//! Policies written as WebAssembly text: what no sane toolchain would produce is easily said there.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the arguments of a call go; what is below is for results and never written by the host.
const HEAP: u32 = 65_536;

/// The address of a `connect-outcome` that admits on the default terms.
pub(crate) const ADMIT: &str = "(i32.const 4096)";
/// The address of a `connect-outcome` that abstains.
pub(crate) const ABSTAIN: &str = "(i32.const 8192)";
/// The address of a `refresh-outcome` or `message-outcome` that keeps, and of a `result` that is an error without
/// text.
pub(crate) const KEEP: &str = "(i32.const 12288)";
/// The address of zeros: `ok`, or a denial.
pub(crate) const ZERO: &str = "(i32.const 0)";

/// A module under construction. Each hook is the body of its function and leaves its result on the stack.
#[derive(Clone, Default)]
pub(crate) struct Guest {
    declarations: String,
    capabilities: Vec<&'static str>,
    functions: String,
    worlds: Vec<&'static str>,
    has_configure: bool,
    has_self_test: bool,
    has_refresh: bool,
    pages: u32,
}

impl Guest {
    pub(crate) fn new() -> Self {
        Self {
            pages: 2,
            ..Self::default()
        }
    }

    /// Imports, globals, data, further functions.
    pub(crate) fn with(mut self, declarations: &str) -> Self {
        self.declarations.push_str(declarations);
        self
    }

    pub(crate) fn importing(
        mut self,
        capability: &'static str,
        function: &str,
        name: &str,
        signature: &str,
    ) -> Self {
        self.capabilities.push(capability);
        let import = format!(
            "(import \"sluice:policy/{capability}@0.1.0\" \"{function}\" (func ${name} {signature}))\n"
        );
        self.declarations.insert_str(0, &import);
        self
    }

    pub(crate) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    pub(crate) fn configure(mut self, body: &str) -> Self {
        self.has_configure = true;
        self.function(
            "setup",
            "configure",
            "(param $ptr i32) (param $len i32) (result i32)",
            body,
        )
    }

    pub(crate) fn self_test(mut self, body: &str) -> Self {
        self.has_self_test = true;
        self.function("setup", "self-test", "(result i32)", body)
    }

    /// The body finds the request at `$request`.
    pub(crate) fn connect(mut self, body: &str) -> Self {
        self.worlds.push("policy-connect");
        self.function("connect", "on-connect", "(param $request i32) (result i32)", body)
    }

    /// Together with `connect`; without, sessions are kept.
    pub(crate) fn refresh(mut self, body: &str) -> Self {
        self.has_refresh = true;
        self.function("connect", "on-refresh", "(param $request i32) (result i32)", body)
    }

    pub(crate) fn publish(mut self, body: &str) -> Self {
        self.worlds.push("policy-publish");
        let signature = "(param $session i64) (param $tag i64) (param $ptr i32) (param $len i32) (param $qos i32) \
                         (param $retain i32) (param $bytes i32) (result i64)";
        self.function("publish", "on-publish", signature, body)
    }

    /// The body finds the topics at `$ptr` and so many messages as `$count` at `$messages`.
    pub(crate) fn publish_many(mut self, body: &str) -> Self {
        self.worlds.push("policy-publish-many");
        let signature = "(param $session i64) (param $tag i64) (param $ptr i32) (param $len i32) \
                         (param $messages i32) (param $count i32) (result i32)";
        self.function("publish-many", "on-publish-many", signature, body)
    }

    pub(crate) fn subscribe(mut self, body: &str) -> Self {
        self.worlds.push("policy-subscribe");
        let signature = "(param $session i64) (param $tag i64) (param $ptr i32) (param $len i32) \
                         (param $options i32) (result i64)";
        self.function("subscribe", "on-subscribe", signature, body)
    }

    pub(crate) fn content(mut self, body: &str) -> Self {
        self.worlds.push("policy-content");
        self.function(
            "content",
            "on-message",
            "(param $arguments i32) (result i32)",
            body,
        )
    }

    pub(crate) fn events(mut self, body: &str) -> Self {
        self.worlds.push("policy-events");
        let signature =
            "(param $session i64) (param $tag i64) (param $case i32) (param i64 i64 i32 i32 i32 i32)";
        self.function("events", "on-event", signature, body)
    }

    fn function(mut self, interface: &str, name: &str, signature: &str, body: &str) -> Self {
        self.functions.push_str(&format!(
            "(func (export \"sluice:policy/{interface}@0.1.0#{name}\") {signature}\n{body}\n\
             (global.set $heap (i32.const {HEAP})))\n"
        ));
        self
    }

    /// The module as text, everything that was left out filled in.
    fn text(mut self) -> String {
        if !self.has_configure {
            self = self.configure(ZERO);
        }
        if !self.has_self_test {
            self = self.self_test(ZERO);
        }
        if self.worlds.contains(&"policy-connect") && !self.has_refresh {
            self = self.refresh(KEEP);
        }
        format!(
            r#"(module
            {}
            (memory (export "memory") {})
            (global $heap (mut i32) (i32.const {HEAP}))
            (data (i32.const 4096) "\01")
            (data (i32.const 8192) "\02")
            (data (i32.const 12288) "\01")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
              (global.set $heap (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            {})"#,
            self.declarations, self.pages, self.functions
        )
    }

    /// The module as cargo would leave it: core WebAssembly with the interface in a custom section.
    pub(crate) fn build(self) -> Vec<u8> {
        let mut world =
            String::from("package test:guest;\nworld guest {\ninclude sluice:policy/policy-setup@0.1.0;\n");
        for name in &self.worlds {
            world.push_str(&format!("include sluice:policy/{name}@0.1.0;\n"));
        }
        for name in &self.capabilities {
            world.push_str(&format!("import sluice:policy/{name}@0.1.0;\n"));
        }
        world.push('}');
        let mut module = wat::parse_str(self.text()).unwrap();
        let mut resolve = Resolve::default();
        resolve.push_dir("../wit").unwrap();
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        module
    }
}

/// A packed verdict as an expression.
pub(crate) fn verdict(bits: u64) -> String {
    format!("(i64.const {bits:#x})")
}

pub(crate) const DENY: u64 = 0;
pub(crate) const ALLOW: u64 = 1;
pub(crate) const ABSTAIN_VERDICT: u64 = 2;

/// Admits everyone and answers each publish with these bits.
pub(crate) fn publisher(bits: u64) -> Guest {
    Guest::new().connect(ADMIT).publish(&verdict(bits))
}
