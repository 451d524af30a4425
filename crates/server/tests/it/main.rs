//! The server as clients and operators use it: real sockets, real TLS, the real program.
#![cfg(test)]

mod accounts;
mod acme;
mod admin_page;
mod audit;
mod backup;
mod backup_crash;
#[cfg(feature = "s3")]
mod backup_s3;
mod certificates;
mod check;
mod cluster;
mod damage;
mod deadlines;
mod exchange;
mod forgetful_disk;
mod limits;
mod load;
mod places;
mod postgres;
mod process;
mod rooms;
mod samples;
mod store_faults;
mod support;
mod systemd;
