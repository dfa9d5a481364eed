//! The `#[policy]` attribute. Written on bare tokens: it reads only the outline of one `impl` block.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// The hooks an author may write, with the interfaces that export each.
const HOOKS: [(&str, &str); 7] = [
    ("on_connect", "asking"),
    ("on_refresh", "asking"),
    ("on_publish", "publish"),
    ("on_publish", "publish_many"),
    ("on_subscribe", "subscribe"),
    ("on_message", "content"),
    ("on_event", "events"),
];

// Documented where it is re-exported, `sluice_policy::policy`: the examples need that crate.
#[allow(missing_docs, reason = "see above")]
#[proc_macro_attribute]
pub fn policy(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("#[policy] takes no arguments");
    }
    match Outline::read(item) {
        Ok(outline) => outline.expand(),
        Err(message) => error(message),
    }
}

/// What the attribute needs to know of the `impl` block.
struct Outline {
    /// Everything before the braces.
    head: Vec<TokenTree>,
    /// The type the trait is implemented for.
    target: String,
    body: Group,
    functions: Vec<String>,
    has_settings: bool,
}

impl Outline {
    fn read(item: TokenStream) -> Result<Self, &'static str> {
        const NOT_AN_IMPL: &str = "#[policy] goes on `impl Policy for YourType { … }`";
        let mut head: Vec<TokenTree> = item.into_iter().collect();
        let Some(TokenTree::Group(body)) = head.pop() else {
            return Err(NOT_AN_IMPL);
        };
        if body.delimiter() != Delimiter::Brace {
            return Err(NOT_AN_IMPL);
        }
        let start = head
            .iter()
            .position(|token| is_word(token, "impl"))
            .ok_or(NOT_AN_IMPL)?;
        if head.get(start + 1).is_some_and(|token| is_sign(token, '<')) {
            return Err("a policy is one type: `impl<T>` cannot be exported");
        }
        let to = head
            .iter()
            .position(|token| is_word(token, "for"))
            .ok_or(NOT_AN_IMPL)?;
        let target: TokenStream = head.iter().skip(to + 1).cloned().collect();
        let tokens: Vec<TokenTree> = body.stream().into_iter().collect();
        let named = |keyword| {
            tokens.windows(2).filter_map(move |pair| match pair {
                [word, name] if is_word(word, keyword) => Some(name.to_string()),
                _ => None,
            })
        };
        let is_async = |name: &str| {
            tokens.windows(3).any(|triple| match triple {
                [first, second, third] => {
                    is_word(first, "async") && is_word(second, "fn") && is_word(third, name)
                }
                _ => false,
            })
        };
        if HOOKS
            .iter()
            .any(|(hook, _)| *hook != "on_connect" && is_async(hook))
        {
            return Err(
                "only `on_connect` may be `async` and ask: all other hooks answer at once. What `on_refresh` would ask, \
                 `on_connect` does when `connection_seconds_max` has the client connect again",
            );
        }
        Ok(Self {
            target: target.to_string(),
            functions: named("fn").collect(),
            has_settings: named("type").any(|name| name == "Settings"),
            head,
            body,
        })
    }

    fn expand(self) -> TokenStream {
        let mut additions = String::new();
        if !self.has_settings {
            additions += "type Settings = ::sluice_policy::NoSettings;";
        }
        if !self.functions.iter().any(|name| name == "new") {
            let (settings, made) = match self.has_settings {
                true => ("settings", "::core::convert::From::from(settings)"),
                false => ("_", "::core::default::Default::default()"),
            };
            additions += &format!(
                "fn new({settings}: Self::Settings) -> ::core::result::Result<Self, ::sluice_policy::Error> {{
                    ::core::result::Result::Ok({made})
                }}"
            );
        }
        let mut body = self.body.stream();
        body.extend(parse(&additions));
        let mut output: TokenStream = self.head.iter().cloned().collect();
        output.extend([TokenTree::Group(Group::new(Delimiter::Brace, body))]);
        output.extend(parse(&self.exports()));
        output
    }

    /// Native builds export nothing: names like `sluice:policy/setup#configure` are no symbols there. Only the policy's
    /// constructor is named, lest the compiler take all of it for dead code.
    fn exports(&self) -> String {
        let mut interfaces = vec!["setup"];
        for (hook, interface) in HOOKS {
            if self.functions.iter().any(|name| name == hook) && !interfaces.contains(&interface) {
                interfaces.push(interface);
            }
        }
        let exports: String = interfaces
            .iter()
            .map(|interface| {
                let bindings = format!("::sluice_policy::bindings::{interface}");
                format!("{bindings}::export!(Component with_types_in {bindings});")
            })
            .collect();
        let target = &self.target;
        format!(
            "#[cfg(target_arch = \"wasm32\")]
            const _: () = {{
                static POLICY: ::sluice_policy::export::Slot<{target}> = ::sluice_policy::export::Slot::new();
                impl ::sluice_policy::export::Exported for {target} {{
                    fn slot() -> &'static ::sluice_policy::export::Slot<Self> {{ &POLICY }}
                }}
                type Component = ::sluice_policy::export::Hooks<{target}>;
                {exports}
            }};
            #[cfg(not(target_arch = \"wasm32\"))]
            const _: fn(
                <{target} as ::sluice_policy::Policy>::Settings,
            ) -> ::core::result::Result<{target}, ::sluice_policy::Error> = <{target} as ::sluice_policy::Policy>::new;"
        )
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

#[expect(
    clippy::expect_used,
    reason = "the text is ours; a mistake shows in every build of a policy"
)]
fn parse(text: &str) -> TokenStream {
    text.parse().expect("generated text is Rust")
}

fn error(message: &str) -> TokenStream {
    parse(&format!("::core::compile_error!({message:?});"))
}
