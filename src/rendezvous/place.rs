//! Where the rendezvous is: as the command line says, or the configuration, or else on the local network.

use crate::error::{CommandError, Exit};
use crate::home::Home;
use crate::steward::rendezvous_of;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where a rendezvous server listens if nobody says otherwise.
pub const PORT: u16 = 27274;

/// A rendezvous.
#[derive(Clone, Debug)]
pub enum Place {
    /// A server.
    Server {
        /// As people write it.
        name: String,
        /// Whether the command line names it, so that the other device has to be told as well.
        is_asked_for: bool,
        /// Its addresses; one at least.
        addrs: Vec<SocketAddr>,
    },
    /// The local network, where the sharer serves.
    Lan,
}

impl Place {
    /// That of a command: what it says, or the configuration, or else the local network.
    pub fn find(home: &Home, asked: Option<&str>) -> Result<Self, CommandError> {
        let is_asked_for = asked.is_some();
        let name = match asked {
            Some(name) => Some(name.to_owned()),
            None => rendezvous_of(home)?,
        };
        Ok(match name {
            Some(name) => Place::Server { addrs: resolve(&name)?, name, is_asked_for },
            None => Place::Lan,
        })
    }

    /// As people say it.
    pub fn name(&self) -> &str {
        match self {
            Place::Server { name, .. } => name,
            Place::Lan => "this network",
        }
    }

    /// Nobody is there.
    pub fn no_server(&self) -> CommandError {
        match self {
            Place::Server { name, .. } => {
                let text = format!("the rendezvous server {name} does not answer");
                CommandError::new(Exit::NoPeer, text)
                    .hint("does dunlin rendezvous serve run there, and do UDP datagrams come through?")
            }
            Place::Lan => {
                let text = "who offers the code on this network does not answer";
                CommandError::new(Exit::NoPeer, text).hint("is a firewall in between? the link may do")
            }
        }
    }

    /// There is no way to it from here.
    pub fn no_way(&self, error: &std::io::Error) -> CommandError {
        let text = format!("there is no way to {}: {error}", self.name());
        CommandError::new(Exit::NoPeer, text).hint("is this machine on a network?")
    }
}

fn resolve(name: &str) -> Result<Vec<SocketAddr>, CommandError> {
    let failed = |why: String| {
        let text = format!("the rendezvous server {name} cannot be found: {why}");
        CommandError::new(Exit::NoPeer, text).hint("write HOST, HOST:PORT or [IPV6]:PORT")
    };
    let has_port = name.parse::<SocketAddr>().is_ok()
        || name
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    let found = match has_port {
        true => name.to_socket_addrs(),
        false => (name.trim_matches(['[', ']']), PORT).to_socket_addrs(),
    };
    let addrs: Vec<SocketAddr> = found.map_err(|error| failed(error.to_string()))?.collect();
    if addrs.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addrs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        for (name, addr) in [
            ("127.0.0.1", "127.0.0.1:27274"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("::1", "[::1]:27274"),
            ("[::1]", "[::1]:27274"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(resolve(name).unwrap(), [addr.parse().unwrap()], "{name}");
        }
        for name in ["", "127.0.0.1:99999", "a b"] {
            assert!(resolve(name).is_err(), "{name}");
        }
    }
}
