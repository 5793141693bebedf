//! Meeting on a local network without a server elsewhere: who shares runs one for as long as it has a code, and says by
//! mDNS under which nameplate and at which port; who joins asks for the nameplate (RFC 6762, RFC 6763).
//!
//! What is said there is a nameplate, which is random and tells nothing (P-14), under a name of the host that is drawn for
//! it. Whoever answers in the sharer's place is where a server that lies is: it has one try.

use super::room::{bind, serve};
use crate::error::{CommandError, Exit};
use crate::home::random;
use data_encoding::HEXLOWER;
use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo, TxtProperty};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The instance's name; there is one of each type.
const INSTANCE: &str = "code";
/// How long a joiner looks for a nameplate.
const SEARCH_TIME: Duration = Duration::from_secs(6);
/// Addresses of one announcement that are tried; a device has a few.
const ADDRS_TRIED: usize = 8;
/// How long the last words to the network may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server for this network, while a share has a code.
pub struct Lan {
    mdns: ServiceDaemon,
    host: String,
    port: u16,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Lan {
    /// Begins.
    pub fn open() -> Result<Self, CommandError> {
        let mdns = ServiceDaemon::new().map_err(|error| failed(&error))?;
        let socket = bind(None, 0)?;
        let port = socket.local_addr().map_err(|error| failed(&error))?.port();
        let host = format!("dunlin-{}.local.", HEXLOWER.encode(&random::<4>()?));
        let (stop, seed) = (Arc::new(AtomicBool::new(false)), random::<32>()?);
        let is_stopped = stop.clone();
        let run = move || {
            // Without it the joiner finds nobody, and says so.
            let _ = serve(&socket, &seed, || !is_stopped.load(Ordering::Relaxed));
        };
        let serving = Builder::new().name("dunlin-rendezvous".to_owned()).spawn(run);
        let serving = Some(serving.map_err(|error| failed(&error))?);
        Ok(Self { mdns, host, port, stop, serving })
    }

    /// Where the sharer itself finds it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Tells the network of a nameplate.
    pub fn announce(&self, nameplate: u32) -> Result<(), CommandError> {
        let service = ServiceInfo::new(
            &type_of(nameplate),
            INSTANCE,
            &self.host,
            "",
            self.port,
            Vec::<TxtProperty>::new(),
        )
        .map_err(|error| failed(&error))?
        .enable_addr_auto();
        self.mdns.register(service).map_err(|error| failed(&error))
    }

    /// Tells the network that it is over.
    pub fn withdraw(&self, nameplate: u32) {
        // Where nobody hears it the announcement ages.
        if let Ok(done) = self.mdns.unregister(&name_of(nameplate)) {
            let _ = done.recv_timeout(LAST_WORDS);
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the server, which may wait for somebody to come.
        let wake = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(&[], self.address());
        let is_woken = wake().is_ok();
        // It fails by a panic alone, which has been told.
        let _ = self.serving.take().filter(|_| is_woken).map(JoinHandle::join);
        let _ = self.mdns.shutdown().map(|done| done.recv_timeout(LAST_WORDS));
    }
}

/// Where a nameplate is on this network: each address of who has it, those of IPv4 first.
pub fn find(nameplate: u32) -> Result<Vec<SocketAddr>, CommandError> {
    let mdns = ServiceDaemon::new().map_err(|error| failed(&error))?;
    let found = mdns.browse(&type_of(nameplate)).map_err(|error| failed(&error))?;
    let until = Instant::now() + SEARCH_TIME;
    let mut addrs = Vec::new();
    while addrs.is_empty() {
        match found.recv_deadline(until) {
            Ok(ServiceEvent::ServiceResolved(service)) if service.fullname == name_of(nameplate) => {
                addrs = addrs_of(&service);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let _ = mdns.shutdown().map(|done| done.recv_timeout(LAST_WORDS));
    if addrs.is_empty() {
        let text = format!(
            "nobody on this network offers the code {nameplate}-…: was it used, burned or taken back?"
        );
        return Err(CommandError::new(Exit::Refused, text).hint(ELSEWHERE));
    }
    Ok(addrs)
}

/// What to do where two devices do not find each other so.
pub const ELSEWHERE: &str = "on different networks both devices need a server, --rendezvous HOST or [rendezvous] server = \"HOST\" in \
     config.toml (dunlin rendezvous serve is one), or the link";

fn addrs_of(service: &ResolvedService) -> Vec<SocketAddr> {
    worth_a_try(service.addresses.iter().map(|address| address.to_ip_addr()), service.port)
}

/// Addresses to try, one after the other: few, whatever is announced, so that nobody is sent round half of a network.
fn worth_a_try(ips: impl Iterator<Item = IpAddr>, port: u16) -> Vec<SocketAddr> {
    // A link-local address means nothing without the name of a network interface.
    let is_usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut addrs: Vec<_> = ips.filter(is_usable).map(|ip| SocketAddr::new(ip, port)).collect();
    addrs.sort();
    addrs.truncate(ADDRS_TRIED);
    addrs
}

/// The service's type, one for each nameplate: who looks for one hears nothing of the others, real or made up. A browser
/// goes over all that it keeps of a type at each announcement, so that a flood of them would keep it from hearing.
fn type_of(nameplate: u32) -> String {
    format!("_dunlin-{nameplate}._udp.local.")
}

fn name_of(nameplate: u32) -> String {
    format!("{INSTANCE}.{}", type_of(nameplate))
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::attention(format!("the local network cannot be asked: {error}")).hint(ELSEWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G16: an announcement with all addresses of a network.
    #[test]
    fn few_of_the_announced_addresses_are_tried() {
        let all = (0..=u16::MAX).map(|host| IpAddr::from([10, 9, (host >> 8) as u8, host as u8]));
        let tried = worth_a_try(all, 7);
        assert_eq!(tried.len(), ADDRS_TRIED);
        assert_eq!(tried[0], "10.9.0.0:7".parse().unwrap());
        let usual = ["fe80::1", "fd00::1", "10.0.0.7"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            worth_a_try(usual.into_iter(), 7),
            ["10.0.0.7:7", "[fd00::1]:7"].map(|addr| addr.parse().unwrap())
        );
    }
}
