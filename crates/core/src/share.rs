//! A sync key on its way to another device: as a link, as a QR code, on paper.

pub mod link;
pub mod paper;
pub mod qr;
