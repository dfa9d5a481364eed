//! What is loaded, what is not, and what is said about it.

use crate::guest::{ADMIT, ALLOW, Guest, KEEP, publisher, verdict};
use crate::support::{ALLOWED, Recorder, config, publish, request, spec, start, start_error, start_one};
use sluice::policy::notice::{FaultKind, Hook};
use sluice::policy::{Capability, Policies, PolicyErrorKind, PolicyNotice, PolicySource, PolicySpec};
use std::fs;
use std::sync::Arc;

fn component(wat: &str) -> PolicySpec {
    spec("p", wat::parse_str(wat).unwrap())
}

/// A component with a `setup` that works and a `publish` that allows, and more.
fn component_with(more: &str) -> PolicySpec {
    component(&format!(
        r#"(component
            {more}
            (core module $m
              (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
              (func (export "configure") (param i32 i32) (result i32) (i32.const 0))
              (func (export "self-test") (result i32) (i32.const 0))
              (func (export "on-publish") (param i64 i64 i32 i32 i32 i32 i32) (result i64) (i64.const 1)))
            (core instance $i (instantiate $m))
            (func $configure (param "settings" string) (result (result (error string)))
              (canon lift (core func $i "configure") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (func $self-test (result (result (error string)))
              (canon lift (core func $i "self-test") (memory (core memory $i "memory"))))
            (func $on-publish (param "session" u64) (param "tag" u64) (param "topic" string) (param "qos" u8)
              (param "retain" bool) (param "payload-bytes" u32) (result u64)
              (canon lift (core func $i "on-publish") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $setup (export "configure" (func $configure)) (export "self-test" (func $self-test)))
            (instance $publish (export "on-publish" (func $on-publish)))
            (export "sluice:policy/setup@0.1.0" (instance $setup))
            (export "sluice:policy/publish@0.1.0" (instance $publish)))"#
    ))
}

#[test]
fn core_modules_and_components_are_both_policies() {
    let host = start(config(vec![
        component_with(""),
        spec("q", publisher(ALLOW).build()),
    ]));
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);
    let hooks: Vec<_> = host
        .policies
        .list()
        .into_iter()
        .map(|status| status.hooks)
        .collect();
    assert_eq!(hooks, [vec!["publish"], vec!["connect", "publish"]]);
}

#[test]
fn the_built_in_policy_works() {
    let mut users = PolicySpec::new("users", PolicySource::Embedded);
    users.settings = serde_json::json!({ "anonymous": "anyone" });
    let host = start(config(vec![users]));
    let mut gate = host.admit("c");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
}

#[test]
fn an_import_that_no_policy_may_have_is_named() {
    for (wat, name) in [
        (
            r#"(import "evil:host/files@1.0.0" (instance))"#,
            "evil:host/files@1.0.0",
        ),
        (
            r#"(import "sluice:policy/files@0.1.0" (instance))"#,
            "sluice:policy/files@0.1.0",
        ),
        (r#"(import "plain" (func))"#, "plain"),
    ] {
        let error = start_error(component_with(wat));
        assert!(
            matches!(&error, PolicyErrorKind::UnknownImport(import) if import == name),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("clock, random, metrics, kv, sessions, bans"),
            "{error}"
        );
    }
    // Of a core module, the import has no interface at all.
    let guest = publisher(ALLOW).with("(import \"env\" \"system\" (func (param i32)))");
    let error = start_error(spec("p", guest.build()));
    assert!(
        matches!(&error, PolicyErrorKind::NoInterface(text) if text.contains("env")),
        "{error}"
    );
}

fn clock_reader() -> Guest {
    let now = "(drop (call $now))";
    Guest::new()
        .importing("clock", "now-unix-milliseconds", "now", "(result i64)")
        .connect(&format!("{now} {ADMIT}"))
}

#[test]
fn a_capability_must_be_granted() {
    let mut ungranted = spec("p", clock_reader().build());
    ungranted.capabilities = [Capability::Kv, Capability::Random].into_iter().collect();
    let error = start_error(ungranted.clone());
    assert_eq!(error, PolicyErrorKind::NotGranted(Capability::Clock));
    ungranted.capabilities = [Capability::Clock].into_iter().collect();
    start(config(vec![ungranted])).admit("c");
}

#[test]
fn another_version_of_the_interface_is_named_with_ours() {
    for wat in [
        r#"(component (import "sluice:policy/log@0.2.0" (instance)))"#,
        r#"(component (instance $i) (export "sluice:policy/setup@0.2.0" (instance $i)))"#,
    ] {
        let error = start_error(component(wat));
        let PolicyErrorKind::Version {
            required, available, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((required.as_str(), available.as_str()), ("0.2.0", "0.1.0"));
    }
}

#[test]
fn a_policy_exports_setup_and_at_least_one_hook() {
    assert_eq!(start_error(component("(component)")), PolicyErrorKind::NoSetup);
    assert_eq!(
        start_error(spec("p", Guest::new().build())),
        PolicyErrorKind::NoHook
    );
}

#[test]
fn an_export_with_another_type_is_refused() {
    let mut wrong = String::from(
        r#"(component
            (core module $m (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func $f (param "x" u32) (canon lift (core func $i "f")))"#,
    );
    let without_function = format!(
        "{wrong} (instance $s (export \"configure\" (func $f)))
         (export \"sluice:policy/setup@0.1.0\" (instance $s)) (export \"sluice:policy/publish@0.1.0\" (instance $s)))"
    );
    wrong.push_str(
        "(instance $s (export \"configure\" (func $f)) (export \"self-test\" (func $f)))
         (instance $p (export \"on-publish\" (func $f)))
         (export \"sluice:policy/setup@0.1.0\" (instance $s)) (export \"sluice:policy/publish@0.1.0\" (instance $p)))",
    );
    for wat in [wrong, without_function] {
        let error = start_error(component(&wat));
        assert!(matches!(error, PolicyErrorKind::WrongType(_)), "{error}");
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let whole = publisher(ALLOW).build();
    for len in [0, 4, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
        let error = start_error(spec("p", whole[..len].to_vec()));
        // The first 8 bytes are an empty module, which has no setup.
        let expected = matches!(
            error,
            PolicyErrorKind::Invalid(_) | PolicyErrorKind::NoInterface(_) | PolicyErrorKind::NoSetup
        );
        assert!(expected, "{len} bytes: {error}");
    }
    let garbage = [b"\0asm\x01\0\0\0".as_slice(), &[0xFF; 100]].concat();
    assert!(matches!(
        start_error(spec("p", garbage)),
        PolicyErrorKind::NoInterface(_)
    ));
    assert!(matches!(
        start_error(spec("p", b"MZ, a program".to_vec())),
        PolicyErrorKind::Invalid(_)
    ));
}

#[test]
fn no_damaged_module_brings_the_host_down() {
    let whole = publisher(ALLOW).build();
    let host = start_one(whole.clone());
    for at in (8..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Some damage is harmless; none is a panic.
        let _ = host.policies.load("p", damaged);
    }
}

#[test]
fn a_module_that_is_too_large_is_not_looked_at() {
    let mut large = spec("p", vec![0; 1001]);
    large.limits.module_bytes_max = 1000;
    assert_eq!(
        start_error(large),
        PolicyErrorKind::TooLarge {
            bytes: 1001,
            bytes_max: 1000
        }
    );
}

/// A `result` at 16384 that is an error with the text `no users`.
const NO_USERS: &str =
    "(data (i32.const 16384) \"\\01\\00\\00\\00\\10\\40\\00\\00\\08\\00\\00\\00\\00\\00\\00\\00no users\")";

#[test]
fn configure_and_self_test_may_refuse_in_their_own_words() {
    let text = || "no users".to_owned();
    let guest = publisher(ALLOW).with(NO_USERS).configure("(i32.const 16384)");
    let error = start_error(spec("p", guest.build()));
    assert_eq!(
        error,
        PolicyErrorKind::Refused {
            hook: Hook::Configure,
            text: text()
        }
    );
    let guest = publisher(ALLOW).with(NO_USERS).self_test("(i32.const 16384)");
    let error = start_error(spec("p", guest.build()));
    assert_eq!(
        error,
        PolicyErrorKind::Refused {
            hook: Hook::SelfTest,
            text: text()
        }
    );
}

#[test]
fn every_hook_is_tried_before_a_module_judges_anyone() {
    let traps = "unreachable";
    for (hook, guest) in [
        (Hook::Configure, publisher(ALLOW).configure(traps)),
        (Hook::SelfTest, publisher(ALLOW).self_test(traps)),
        (Hook::Connect, Guest::new().connect(traps)),
        (Hook::Refresh, Guest::new().connect(ADMIT).refresh(traps)),
        (Hook::Publish, Guest::new().publish(traps)),
        (Hook::Subscribe, Guest::new().subscribe(traps)),
        (Hook::Content, Guest::new().content(traps)),
        (Hook::Event, Guest::new().events(traps)),
    ] {
        let error = start_error(spec("p", guest.build()));
        let PolicyErrorKind::Fault(found, fault) = &error else {
            panic!("{hook}: {error}")
        };
        assert_eq!((*found, fault.kind), (hook, FaultKind::Trap), "{error}");
    }
    let error = start_error(spec("p", Guest::new().publish(&verdict(99)).build()));
    assert!(
        matches!(&error, PolicyErrorKind::Fault(Hook::Publish, fault) if fault.kind == FaultKind::BadVerdict)
    );
}

#[test]
fn what_a_trial_does_is_forgotten() {
    // Counts each call of on-publish under `n` and allows the first one only.
    let guest = Guest::new()
        .importing("kv", "increment", "increment", "(param i32 i32 i64 i32 i32)")
        .with("(data (i32.const 16384) \"n\")")
        .connect(ADMIT)
        .publish(
            "(call $increment (i32.const 16384) (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 20000))
             (i64.eq (i64.load (i32.const 20008)) (i64.const 1)) (i64.extend_i32_u)",
        );
    let mut counting = spec("p", guest.build());
    counting.capabilities = [Capability::Kv].into_iter().collect();
    let host = start(config(vec![counting]));
    let mut gate = host.admit("c");
    assert_eq!(publish(&mut gate, "t"), ALLOWED);
    assert_ne!(publish(&mut gate, "t"), ALLOWED);
}

#[test]
fn wasi_grants_nothing_and_what_std_calls_at_its_start_does_not_trap() {
    let imports = r#"
        (import "wasi:cli/environment@0.2.6" (instance $env
          (export "get-environment" (func (result (list (tuple string string)))))))
        (import "wasi:random/insecure-seed@0.2.6" (instance (export "insecure-seed" (func (result (tuple u64 u64))))))
        (import "wasi:io/error@0.2.6" (instance $error (export "error" (type (sub resource)))))
        (import "wasi:io/streams@0.2.6" (instance (export "output-stream" (type (sub resource)))))
        (import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func (param "status" (result))))))
        (import "wasi:sockets/tcp@0.2.6" (instance (export "tcp-socket" (type (sub resource)))))
        (core module $start
          (import "" "environment" (func $environment (param i32)))
          (import "" "memory" (memory 1))
          (func $main
            (i32.store (i32.const 4) (i32.const 7))
            (call $environment (i32.const 0))
            (if (i32.load (i32.const 4)) (then unreachable)))
          (start $main))
        (core module $mem
          (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
        (core instance $mem (instantiate $mem))
        (core func $environment (canon lower (func $env "get-environment")
          (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
        (core instance (instantiate $start (with "" (instance
          (export "environment" (func $environment)) (export "memory" (memory $mem "memory"))))))"#;
    let host = start(config(vec![
        component_with(imports),
        spec("q", publisher(ALLOW).build()),
    ]));
    assert_eq!(publish(&mut host.admit("c"), "t"), ALLOWED);

    let exit = r#"
        (import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func (param "status" (result))))))
        (core func $exit (canon lower (func $exit "exit")))
        (core module $start (import "" "exit" (func $exit (param i32)))
          (func $main (call $exit (i32.const 0))) (start $main))
        (core instance (instantiate $start (with "" (instance (export "exit" (func $exit))))))"#;
    let error = start_error(component_with(exit));
    assert!(
        error
            .to_string()
            .contains("wasi:cli/exit.exit is not available to policies"),
        "{error}"
    );
}

#[test]
fn what_is_written_to_wasi_streams_is_swallowed() {
    let imports = r#"
        (import "wasi:io/error@0.2.3" (instance $error (export "error" (type (sub resource)))))
        (alias export $error "error" (type $error-type))
        (import "wasi:io/streams@0.2.3" (instance $streams
          (export "output-stream" (type $stream (sub resource)))
          (alias outer 1 $error-type (type $outer-error))
          (export "error" (type $inner-error (eq $outer-error)))
          (type $stream-error (variant (case "last-operation-failed" (own $inner-error)) (case "closed")))
          (export "stream-error" (type $named-error (eq $stream-error)))
          (export "[method]output-stream.check-write"
            (func (param "self" (borrow $stream)) (result (result u64 (error $named-error)))))
          (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $stream))
            (param "contents" (list u8)) (result (result (error $named-error)))))))
        (alias export $streams "output-stream" (type $stream-type))
        (import "wasi:cli/stderr@0.2.3" (instance $stderr
          (alias outer 1 $stream-type (type $outer-stream))
          (export "output-stream" (type $inner-stream (eq $outer-stream)))
          (export "get-stderr" (func (result (own $inner-stream))))))
        (core module $mem (memory (export "memory") 1))
        (core instance $mem (instantiate $mem))
        (core func $get (canon lower (func $stderr "get-stderr")))
        (core func $check (canon lower (func $streams "[method]output-stream.check-write")
          (memory (core memory $mem "memory"))))
        (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
          (memory (core memory $mem "memory"))))
        (core func $drop (canon resource.drop $stream-type))
        (core module $start
          (import "" "get" (func $get (result i32)))
          (import "" "check" (func $check (param i32 i32)))
          (import "" "write" (func $write (param i32 i32 i32 i32)))
          (import "" "drop" (func $drop (param i32)))
          (import "" "memory" (memory 1))
          (func $main (local $stderr i32)
            (local.set $stderr (call $get))
            (call $check (local.get $stderr) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then unreachable))
            (if (i64.eqz (i64.load (i32.const 24))) (then unreachable))
            (call $write (local.get $stderr) (i32.const 0) (i32.const 5) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then unreachable))
            (call $drop (local.get $stderr)))
          (start $main))
        (core instance (instantiate $start (with "" (instance
          (export "get" (func $get)) (export "check" (func $check)) (export "write" (func $write))
          (export "drop" (func $drop)) (export "memory" (memory $mem "memory"))))))"#;
    start(config(vec![component_with(imports)]));
}

#[test]
fn everything_wrong_with_a_configuration_is_said_at_once() {
    let mut wrong = config(vec![
        spec("a", b"garbage".to_vec()),
        spec("b", publisher(ALLOW).build()),
        spec("b", publisher(ALLOW).build()),
        PolicySpec::new("c", PolicySource::File("/nonexistent/c.wasm".into())),
    ]);
    wrong.default_chain = vec!["b".into(), "z".into()];
    let errors = Policies::start(wrong, Arc::new(Recorder::default())).unwrap_err();
    let mut policies: Vec<_> = errors.iter().map(|error| error.policy.as_str()).collect();
    policies.sort_unstable();
    assert_eq!(policies, ["a", "b", "c", "z"]);
}

#[test]
fn a_module_is_inspected_without_running_it() {
    let guest = clock_reader()
        .publish(&verdict(ALLOW))
        .with("(func $main unreachable) (start $main)");
    let inspection = Policies::inspect(&guest.build()).unwrap();
    assert_eq!(inspection.hooks, ["connect", "publish"]);
    assert_eq!(
        inspection.capabilities.iter().collect::<Vec<_>>(),
        [Capability::Clock]
    );
    assert!(!inspection.is_component && !inspection.wasi);
    assert_eq!(inspection.digest.len(), 64);
    assert!(Policies::inspect(b"\0asm").is_err());
}

#[test]
fn a_compiled_module_is_kept_and_a_corrupted_one_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = dir.path().join("modules");
    let cached_config = || {
        let mut config = config(vec![spec("p", publisher(ALLOW).build())]);
        config.cache_dir = Some(cache_dir.clone());
        config
    };
    let works = || {
        let host = start(cached_config());
        assert_eq!(publish(&mut host.admit_with(request("c")).0, "t"), ALLOWED);
    };
    works();
    let files: Vec<_> = fs::read_dir(&cache_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let sound = fs::read(file).unwrap();
    works();
    let mut corrupt = sound.clone();
    corrupt[40] ^= 0xFF;
    fs::write(file, &corrupt).unwrap();
    works();
    assert_eq!(fs::read(file).unwrap(), sound);
}

#[test]
fn a_cache_directory_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut shared = config(vec![spec("p", publisher(ALLOW).build())]);
    shared.cache_dir = Some(dir.path().to_owned());
    let host = start(shared);
    host.recorder.wait_for(|notice| match notice {
        PolicyNotice::Host { message } if message.contains("nobody else can write") => Some(()),
        _ => None,
    });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_policy_cannot_keep_anything_in_its_memory() {
    // Allows as long as its instance is fresh; recycled after each call, it always is.
    let guest = Guest::new()
        .with("(global $calls (mut i64) (i64.const 0))")
        .connect(ADMIT)
        .refresh(KEEP)
        .publish(
            "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
             (i64.extend_i32_u (i64.eq (global.get $calls) (i64.const 1)))",
        );
    let mut recycling = config(vec![spec("p", guest.build())]);
    recycling.instance_calls = (1, 1);
    let host = start(recycling);
    let mut gate = host.admit("c");
    for _ in 0..20 {
        assert_eq!(publish(&mut gate, "t"), ALLOWED);
    }
}
