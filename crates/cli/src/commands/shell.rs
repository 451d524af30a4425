/// Type commands one after the other, with the names of the original Passmate program
///
/// `open PATH`, or the path alone, opens a record; `show`, `set FIELD`, `gen FIELD`, `rename PATH` and
/// `del` are about the open record, and an empty line closes it. `help` lists them all. Every other
/// command of passmate works too. The Tab key completes names, paths and fields.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
