//! What one address may ask for without a token: signing up and signing in cost a hash or a row
//! each.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use actix_web::dev::ServiceRequest;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use ipnet::IpNet;
use omgservers_http::Anonymous;

use crate::config::LimitsConfig;

type Buckets = DefaultKeyedRateLimiter<IpAddr>;

/// Two buckets for each address: one for what is cheap, one for passwords, whose slow hashes wait
/// in one queue for everybody.
pub struct AddressLimit {
    cheap: Buckets,
    passwords: Buckets,
    clock: DefaultClock,
    trusted: Vec<IpNet>,
}

impl AddressLimit {
    /// The limit that the configuration asks for; `None` when it is switched off.
    pub fn new(config: &LimitsConfig) -> Option<Self> {
        if !config.enabled {
            return None;
        }
        Some(Self {
            cheap: buckets(config.anonymous_per_second, config.anonymous_burst)?,
            passwords: buckets(config.passwords_per_second, config.passwords_burst)?,
            clock: DefaultClock::default(),
            trusted: config.trusted_proxies.clone(),
        })
    }

    /// How long to wait, if the request is one too many.
    pub fn refuses(&self, request: &ServiceRequest, cost: Anonymous) -> Option<Duration> {
        let peer = request.peer_addr()?.ip();
        // Several lines are one list, in their order.
        let lines = request.headers().get_all("x-forwarded-for");
        let bucket = bucket(client(peer, lines.map(|it| it.to_str().unwrap_or_default()), &self.trusted));
        let buckets = match cost {
            Anonymous::Cheap => &self.cheap,
            Anonymous::Password => &self.passwords,
        };
        let refused = buckets.check_key(&bucket).err()?;
        Some(refused.wait_time_from(self.clock.now()))
    }

    /// Forgets addresses that were silent for long enough.
    pub fn forget(&self) {
        for buckets in [&self.cheap, &self.passwords] {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

fn buckets(per_second: u32, burst: u32) -> Option<Buckets> {
    let quota = Quota::per_second(NonZeroU32::new(per_second)?).allow_burst(NonZeroU32::new(burst)?);
    Some(RateLimiter::keyed(quota))
}

/// Whom the request comes from: the last address on the way that is no proxy of ours. What stands
/// before it in the lines of the header anybody may have written.
fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let ours = |it: &IpAddr| trusted.iter().any(|network| network.contains(it));
    let mut last = peer.to_canonical();
    let mut hops = forwarded.rev().flat_map(|it| it.rsplit(',')).map(str::trim);
    while ours(&last) {
        match hops.next().and_then(address_of) {
            Some(before) => last = before.to_canonical(),
            None => break,
        }
    }
    last
}

/// The address that a proxy forwards. Some write the port behind it, and some write an IPv6 address
/// in brackets. Without this all players behind such a proxy would share one bucket.
fn address_of(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    if let Ok(with_port) = hop.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    hop.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(hop).parse().ok()
}

/// A household has 2^64 addresses of the newer kind.
fn bucket(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(network) => IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(peer: &str, lines: &[&str], trusted: &[IpNet]) -> IpAddr {
        client(ip(peer), lines.iter().copied(), trusted)
    }

    #[test]
    fn a_forwarded_address_may_have_a_port_or_brackets() {
        let proxy: IpNet = "10.0.0.0/8".parse().unwrap();
        let of = |hop: &str| from("10.0.0.1", &[hop], &[proxy]);
        assert_eq!(of("198.51.100.7:4711"), ip("198.51.100.7"));
        assert_eq!(of("[2001:db8::1]:443"), ip("2001:db8::1"));
        assert_eq!(of("[2001:db8::1]"), ip("2001:db8::1"));
        assert_eq!(of("\"[2001:db8::1]:443\""), ip("2001:db8::1"));
        assert_eq!(of("2001:db8::1"), ip("2001:db8::1"));
        assert_eq!(of("unknown"), ip("10.0.0.1"), "what is no address ends the way back");
    }

    #[test]
    fn what_an_unknown_peer_forwards_is_not_believed() {
        assert_eq!(from("198.51.100.7", &["10.0.0.9"], &[]), ip("198.51.100.7"));
    }

    #[test]
    fn behind_our_proxies_the_last_foreign_address_counts() {
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let header = ["1.1.1.1, 198.51.100.7, 10.0.0.2"];
        assert_eq!(from("127.0.0.1", &header, &trusted), ip("198.51.100.7"));
        assert_eq!(from("::ffff:127.0.0.1", &header, &trusted), ip("198.51.100.7"));
        assert_eq!(from("127.0.0.1", &["rubbish"], &trusted), ip("127.0.0.1"));
        assert_eq!(from("127.0.0.1", &[], &trusted), ip("127.0.0.1"));
    }

    #[test]
    fn lines_of_the_header_are_one_list() {
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let limit = AddressLimit {
            cheap: buckets(1, 1).unwrap(),
            passwords: buckets(1, 1).unwrap(),
            clock: DefaultClock::default(),
            trusted: trusted.to_vec(),
        };
        // The first line is the client's own invention; a proxy of ours wrote the second one.
        let request = |invented: &str, written: &str| {
            actix_web::test::TestRequest::default()
                .peer_addr("127.0.0.1:5000".parse().unwrap())
                .append_header(("X-Forwarded-For", invented))
                .append_header(("X-Forwarded-For", written))
                .to_srv_request()
        };
        let refused = |request, cost| limit.refuses(&request, cost).is_some();
        assert!(!refused(request("203.0.113.1", "198.51.100.7"), Anonymous::Cheap));
        assert!(
            refused(request("203.0.113.2", "198.51.100.7, 10.0.0.2"), Anonymous::Cheap),
            "the same client"
        );
        assert!(!refused(request("203.0.113.3", "198.51.100.8"), Anonymous::Cheap), "another one");
        assert!(refused(request("198.51.100.8", "10.0.0.2"), Anonymous::Cheap), "over both lines");
        assert!(!refused(request("203.0.113.1", "198.51.100.7"), Anonymous::Password), "a bucket of its own");
        assert!(refused(request("203.0.113.1", "198.51.100.7"), Anonymous::Password));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        assert_eq!(bucket(ip("2001:db8::1")), bucket(ip("2001:db8::ffff:1")));
        assert_ne!(bucket(ip("2001:db8::1")), bucket(ip("2001:db8:0:1::1")));
        assert_ne!(bucket(ip("192.0.2.1")), bucket(ip("192.0.2.2")));
    }
}
