# Lists the recipes.
default:
    @just --list

# What CI runs.
check:
    bash .ci/run

# Formats the code.
fmt:
    cargo fmt --all

# Formatting and lints, warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The whole test suite, as the README says.
test:
    cargo test --workspace --locked

# The demonstration on this machine.
demo *ARGS:
    cargo run --locked -- demo {{ARGS}}

# Tests that are too slow for CI.
test-slow:
    cargo test --workspace --locked -- --ignored _slow

# The documentation of all crates, warnings are errors.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, advisories and sources of the dependencies; needs cargo-deny.
deny:
    cargo deny --all-features check licenses bans sources

# The figures of a room beside their limits: just bench content, just bench net, just bench proofs.
bench *ARGS:
    cargo test --locked -p hpips-tests --test bench -- {{ARGS}}

# The tests beside the real Kubo and npm's clients, which are installed into the user's cache first.
interop:
    HPIPS_KUBO=$(.ci/kubo) HPIPS_NPM=$(.ci/npm) cargo test --locked -p hpips-tests --test interop

# Coverage-guided fuzzing of one decoder; needs cargo-fuzz and a nightly compiler: just fuzz dag_pb -max_total_time=60
fuzz TARGET *ARGS:
    cd tests/fuzz && cargo +nightly fuzz run {{TARGET}} -- {{ARGS}}
