//! `passmate`, in the package where the harness can find it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    passmate::main()
}
