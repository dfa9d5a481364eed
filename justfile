# What a developer runs; `.ci/run` is the whole of it.

# Format, lints and tests.
check:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo test

# The rules of the house alone: lengths, dependency edges, leftovers.
tidy:
    cargo test -p sluice-tests --test tidy

# The tests with real clients, which `.ci/clients` installs.
clients:
    .ci/clients
    cargo test -p sluice-tests --features real-clients --test clients

# What is in deploy/, with the tools it is for: as root; names of checks (`just deploy nftables`) try those alone.
deploy *checks:
    .ci/deploy {{checks}}

# Sluice beside other brokers, which `bench/peers/install` installs; about half an hour.
bench *arguments:
    cargo build --release -p sluice -p sluice-bench
    cargo build --release -p sluice-bench-policy --target wasm32-unknown-unknown
    target/release/sluice-bench run {{arguments}}

# Everything that CI does.
ci:
    .ci/run
