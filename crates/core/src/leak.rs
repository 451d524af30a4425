//! Values of a vault in the bytes of others: in what a program writes, and in files.
//!
//! | room | what it does |
//! | --- | --- |
//! | [`needles`] | finds any of many values at a place of a text |
//! | [`forms`] | the forms that a value takes in files and messages |
//! | [`mask`] | masks values in a stream |
//! | [`scan`] | finds the values of a vault in a text |
//! | [`tree`] | scans the files of a folder |

pub mod forms;
pub mod mask;
pub mod needles;
pub mod scan;
pub mod tree;
