//! What wit-bindgen makes of `../wit`: one module per world, all sharing the types of [`host`].
//!
//! A world's `export!` macro is used only for the hooks a policy writes, so a component exports those and no others.

pub mod host {
    //! The types of the interface and everything a policy may import.
    wit_bindgen::generate!({
        world: "policy-host",
        generate_unused_types: true,
        additional_derives: [PartialEq],
        additional_type_attributes: {
            "sluice:policy/types@0.1.0/rate": [#[derive(serde::Deserialize)] #[serde(deny_unknown_fields)]],
            "sluice:policy/types@0.1.0/budget": [
                #[derive(Default, serde::Deserialize)]
                #[serde(default, deny_unknown_fields)]
            ],
            "sluice:policy/types@0.1.0/over-limit-action": [
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "kebab-case")]
            ],
            "sluice:policy/types@0.1.0/overflow": [
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "kebab-case")]
            ],
            "sluice:policy/types@0.1.0/admission": [#[derive(Default)]],
            "sluice:policy/types@0.1.0/connack-overrides": [#[derive(Default)]],
        },
    });
}

pub mod setup {
    wit_bindgen::generate!({
        world: "policy-setup",
        with: { "sluice:policy/log@0.1.0": crate::bindings::host::sluice::policy::log },
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::setup",
    });
}

pub mod asking {
    wit_bindgen::generate!({
        world: "policy-asking",
        with: {
            "sluice:policy/types@0.1.0": crate::bindings::host::sluice::policy::types,
            "sluice:policy/services@0.1.0": crate::bindings::host::sluice::policy::services,
        },
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::asking",
    });
}

pub mod publish {
    wit_bindgen::generate!({
        world: "policy-publish",
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::publish",
    });
}

pub mod publish_many {
    wit_bindgen::generate!({
        world: "policy-publish-many",
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::publish_many",
    });
}

pub mod subscribe {
    wit_bindgen::generate!({
        world: "policy-subscribe",
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::subscribe",
    });
}

pub mod content {
    wit_bindgen::generate!({
        world: "policy-content",
        with: { "sluice:policy/types@0.1.0": crate::bindings::host::sluice::policy::types },
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::content",
    });
}

pub mod events {
    wit_bindgen::generate!({
        world: "policy-events",
        with: { "sluice:policy/types@0.1.0": crate::bindings::host::sluice::policy::types },
        pub_export_macro: true,
        default_bindings_module: "sluice_policy::bindings::events",
    });
}
