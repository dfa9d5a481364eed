//! The host's side of `wit/`, generated. No component exports all of this world: only its interfaces are used, each
//! looked up on its own.

// Generated code keeps no style of ours.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_arguments
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "sluice:host/everything",
    inline: "
        package sluice:host;

        world everything {
            include sluice:policy/policy-setup@0.1.0;
            include sluice:policy/policy-connect@0.1.0;
            include sluice:policy/policy-asking@0.1.0;
            include sluice:policy/policy-publish@0.1.0;
            include sluice:policy/policy-publish-many@0.1.0;
            include sluice:policy/policy-subscribe@0.1.0;
            include sluice:policy/policy-content@0.1.0;
            include sluice:policy/policy-events@0.1.0;
            include sluice:policy/policy-host@0.1.0;
        }
    ",
    // Its host function may fail, which traps the guest.
    imports: { "sluice:policy/random.next-u64": trappable },
});
