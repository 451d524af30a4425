//! `passmate`, in the package where tests can find it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    passmate::main()
}
