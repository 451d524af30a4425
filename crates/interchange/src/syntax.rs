//! The syntax of foreign files, without their meaning.

pub(crate) mod csv;
pub(crate) mod cxf;
pub(crate) mod json;
pub(crate) mod kdbx;
pub(crate) mod kpex;
pub(crate) mod xml;
pub(crate) mod yaml;
pub(crate) mod zip;
