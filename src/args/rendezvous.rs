//! The command line of `rendezvous`.

use argh::FromArgs;
use std::net::SocketAddr;

/// run a rendezvous server: a place where two devices meet that have a short code
#[derive(FromArgs)]
#[argh(subcommand, name = "rendezvous")]
pub struct Rendezvous {
    #[argh(subcommand)]
    pub action: RendezvousAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum RendezvousAction {
    Serve(RendezvousServe),
}

/// serve whoever comes, until Ctrl-C; nothing is written down, and what is said there cannot be read here
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct RendezvousServe {
    /// address to listen on (port 27274 of all addresses)
    #[argh(option)]
    pub listen: Option<SocketAddr>,
}
