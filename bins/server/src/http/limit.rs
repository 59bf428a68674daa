//! What one address may ask for without a token: signing up and signing in cost a hash or a row each.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use actix_web::dev::ServiceRequest;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use ipnet::IpNet;

use crate::config::LimitsConfig;

/// A bucket for each address.
pub struct AddressLimit {
    buckets: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    trusted: Vec<IpNet>,
}

impl AddressLimit {
    /// The limit that the configuration asks for; `None` when it is switched off.
    pub fn new(config: &LimitsConfig) -> Option<Self> {
        let per_second = NonZeroU32::new(config.anonymous_per_second).filter(|_| config.enabled)?;
        let burst = NonZeroU32::new(config.anonymous_burst)?;
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Some(Self {
            buckets: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            trusted: config.trusted_proxies.clone(),
        })
    }

    /// How long to wait, if the request is one too many.
    pub fn refuses(&self, request: &ServiceRequest) -> Option<Duration> {
        let peer = request.peer_addr()?.ip();
        let header = request.headers().get("x-forwarded-for").and_then(|it| it.to_str().ok());
        let bucket = bucket(client(peer, header, &self.trusted));
        let refused = self.buckets.check_key(&bucket).err()?;
        Some(refused.wait_time_from(self.clock.now()))
    }

    /// Forgets addresses that were silent for long enough.
    pub fn forget(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
    }
}

/// Whom the request comes from: the last address on the way that is no proxy of ours. What stands before it in
/// the header anybody may have written.
fn client(peer: IpAddr, forwarded: Option<&str>, trusted: &[IpNet]) -> IpAddr {
    let ours = |it: &IpAddr| trusted.iter().any(|network| network.contains(it));
    let mut last = peer.to_canonical();
    let mut way = forwarded.unwrap_or_default().rsplit(',').map(str::trim);
    while ours(&last) {
        match way.next().and_then(|it| it.parse::<IpAddr>().ok()) {
            Some(before) => last = before.to_canonical(),
            None => break,
        }
    }
    last
}

/// A household has 2^64 addresses of the newer kind.
fn bucket(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_an_unknown_peer_forwards_is_not_believed() {
        assert_eq!(client(ip("198.51.100.7"), Some("10.0.0.9"), &[]), ip("198.51.100.7"));
    }

    #[test]
    fn behind_our_proxies_the_last_foreign_address_counts() {
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let header = Some("1.1.1.1, 198.51.100.7, 10.0.0.2");
        assert_eq!(client(ip("127.0.0.1"), header, &trusted), ip("198.51.100.7"));
        assert_eq!(client(ip("::ffff:127.0.0.1"), header, &trusted), ip("198.51.100.7"));
        assert_eq!(client(ip("127.0.0.1"), Some("rubbish"), &trusted), ip("127.0.0.1"));
        assert_eq!(client(ip("127.0.0.1"), None, &trusted), ip("127.0.0.1"));
    }

    #[test]
    fn neighbours_in_one_household_share_a_bucket() {
        assert_eq!(bucket(ip("2001:db8::1")), bucket(ip("2001:db8::ffff:1")));
        assert_ne!(bucket(ip("2001:db8::1")), bucket(ip("2001:db8:0:1::1")));
        assert_ne!(bucket(ip("192.0.2.1")), bucket(ip("192.0.2.2")));
    }
}
