//! `passmate-server`, where the harness finds it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    passmate_server::main()
}
