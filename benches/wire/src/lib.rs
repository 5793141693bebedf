//! What the foreign peers share: the program's own limits, one suite, one certificate, and the words of a result.
//!
//! A run goes the same way with each of them, as in the transport's own bench: the sender says how many bytes
//! there will be, sends one buffer over and over, and stops its clock at the receiver's answer. Nothing here is
//! part of the program.

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// What a peer's main function gives.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Bytes handed over at once: within the 16 to 64 KiB that were the fastest for all of them.
pub const WRITE: usize = 64 * 1024;
/// The name in the certificate.
pub const NAME: &str = "wire.invalid";

const GIB: f64 = (1 << 30) as f64;
/// An Ed25519 key as PKCS #8 (RFC 8410) begins so; the key itself follows.
const KEY_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What a peer is asked to do.
pub enum Task {
    /// Receive at this address, until stopped.
    Serve(String),
    /// Send so many bytes there, perhaps under a congestion control of this name.
    Send(String, u64, Option<String>),
}

impl Task {
    /// From the command line: `serve ADDR` or `send ADDR GIB [CONGESTION]`.
    pub fn from_args() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        match &args[..] {
            [verb, addr] if verb == "serve" => Ok(Self::Serve(addr.clone())),
            [verb, addr, gib, congestion @ ..] if verb == "send" && congestion.len() <= 1 => {
                let writes = gib.parse::<f64>()? * GIB / WRITE as f64;
                Ok(Self::Send(addr.clone(), writes as u64 * WRITE as u64, congestion.first().cloned()))
            }
            _ => Err("serve ADDR, or send ADDR GIB [CONGESTION]".into()),
        }
    }
}

/// One clock of both kinds of time.
pub struct Clock {
    began: Instant,
    cpu_seconds: f64,
}

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self { began: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    /// Says what was done, in the words of the transport's own bench.
    pub fn report(&self, what: &str, bytes: u64) {
        let (seconds, cpu_seconds) = (self.began.elapsed().as_secs_f64(), cpu_seconds() - self.cpu_seconds);
        let (gib, megabytes) = (bytes as f64 / GIB, bytes as f64 / 1e6);
        println!(
            "{what} {gib:.2} GiB in {seconds:.2} s: {:.0} MB/s, {:.2} CPU s/GiB of this process",
            megabytes / seconds,
            cpu_seconds / gib,
        );
    }
}

/// CPU time of this process, all threads, in seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// TLS 1.3 with AES-256-GCM and nothing else, by ring as in the program.
pub fn only_suite() -> CryptoProvider {
    let suites = vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    CryptoProvider { cipher_suites: suites, ..ring::default_provider() }
}

/// For the end that listens.
pub fn server() -> Result<ServerConfig, Box<dyn Error + Send + Sync>> {
    let (certificate, key) = identity()?;
    let builder = ServerConfig::builder_with_provider(Arc::new(only_suite()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?.with_no_client_auth();
    Ok(builder.with_single_cert(vec![certificate], key.into())?)
}

/// For the end that dials; it trusts the one certificate.
pub fn client() -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    roots.add(identity()?.0)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(only_suite()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The same at both ends, from a key that everybody knows: what is measured begins after the handshake.
fn identity() -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), Box<dyn Error + Send + Sync>>
{
    let key = PrivatePkcs8KeyDer::from([&KEY_HEAD[..], &[5; 32]].concat());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&pair)?;
    Ok((certificate.der().clone(), key))
}
