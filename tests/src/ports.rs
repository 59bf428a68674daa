//! Ports that one test has for itself.

use std::{
    fs::{File, TryLockError},
    net::TcpListener,
};

/// Below the ports that Linux gives to outgoing connections, which begin at 32,768. So no
/// connection takes a port between its reservation and the start of the server that listens on it.
const PORTS: std::ops::Range<u16> = 18_000..32_000;

/// A port of the machine that no other test reserves for as long as this lives.
pub struct ReservedPort {
    /// The port.
    pub number: u16,
    /// Locked; the lock goes with the process, however it ends.
    _lock: File,
}

impl ReservedPort {
    /// Reserves a port that nothing listens on. Panics when there is none.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join("omgservers-test-ports");
        std::fs::create_dir_all(&folder).unwrap();
        let count = u32::from(PORTS.end - PORTS.start);
        // Processes begin at different places, so that they seldom try the same port.
        let first = std::process::id().wrapping_mul(7) % count;
        for step in 0..count {
            let number = PORTS.start + u16::try_from((first + step) % count).unwrap();
            let lock =
                File::options().create(true).append(true).open(folder.join(number.to_string())).unwrap();
            match lock.try_lock() {
                Ok(()) if TcpListener::bind(("0.0.0.0", number)).is_ok() => {
                    return Self { number, _lock: lock };
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("{}: {error}", folder.display()),
            }
        }
        panic!("no port is free between {} and {}", PORTS.start, PORTS.end);
    }
}

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}
