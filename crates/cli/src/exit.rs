//! The exit codes. They are never renumbered.

use passmate_core::problem::ProblemKind;

/// The exit code of a problem.
pub(crate) const fn code_of(kind: ProblemKind) -> u8 {
    match kind {
        ProblemKind::Other => 1,
        ProblemKind::Usage => 2,
        ProblemKind::Cancelled => 3,
        ProblemKind::Locked => 4,
        ProblemKind::WrongPassphrase => 5,
        ProblemKind::Damaged => 6,
        ProblemKind::File => 7,
        ProblemKind::InUse => 8,
        ProblemKind::NotFound => 10,
        ProblemKind::Ambiguous => 11,
        ProblemKind::Exists => 12,
        ProblemKind::Network => 20,
        ProblemKind::NotTrusted => 21,
        ProblemKind::Refused => 22,
        ProblemKind::TooLarge => 23,
        ProblemKind::NotSupported => 24,
        ProblemKind::Older => 25,
        ProblemKind::HeldBack => 26,
        ProblemKind::KeyMistyped => 27,
        ProblemKind::DoctorFindings => 31,
        ProblemKind::Findings => 30,
    }
}
