//! `passmate`, where tests find it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    passmate::main()
}
