//! The program `passmate-server`; see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    passmate_server::main()
}
