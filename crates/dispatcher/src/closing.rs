//! Reasons why the backend ends a connection.

/// Reason why the backend ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The peer sent a close frame.
    Requested,
    /// Another connection of the same client or runtime replaced it.
    Replaced,
    /// The client has consumed the message that it is with another runtime.
    Moved,
    /// The client's session is over.
    Over,
    /// The server stops.
    Stopping,
    /// The receiver's queue is full of texts.
    TooSlow,
    /// A text of the player didn't fit into its runtime's queue for too long.
    TooFast,
    /// The peer sent nothing for too long, not even answers to pings.
    Idle,
    /// The peer breaks the protocol of WebSockets.
    Protocol,
    /// A text frame isn't UTF-8.
    NotText,
    /// A frame or a message is too large.
    TooLarge,
}

impl Closing {
    /// Returns the code of the close frame (RFC 6455).
    pub const fn code(self) -> u16 {
        match self {
            Self::Requested | Self::Replaced | Self::Moved | Self::Over => 1000,
            Self::Stopping => 1001,
            Self::Idle | Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
            Self::TooSlow | Self::TooFast => 1013,
        }
    }

    /// Returns the text of the close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Requested => "",
            Self::Replaced => "another connection took the place of this one",
            Self::Moved => "the client is with another runtime",
            Self::Over => "the session is over",
            Self::Stopping => "the server stops",
            Self::TooSlow => "frames are not taken fast enough",
            Self::TooFast => "the runtime does not keep up with the frames of this client",
            Self::Idle => "nothing was heard for too long",
            Self::Protocol => "this is not the WebSocket protocol",
            Self::NotText => "a text frame is not UTF-8",
            Self::TooLarge => "a frame is too large",
        }
    }

    /// Every reason.
    pub(crate) const ALL: [Self; 11] = [
        Self::Requested,
        Self::Replaced,
        Self::Moved,
        Self::Over,
        Self::Stopping,
        Self::TooSlow,
        Self::TooFast,
        Self::Idle,
        Self::Protocol,
        Self::NotText,
        Self::TooLarge,
    ];

    /// Returns the label of the metric.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Requested => "asked",
            Self::Replaced => "replaced",
            Self::Moved => "moved",
            Self::Over => "over",
            Self::Stopping => "stopping",
            Self::TooSlow => "too_slow",
            Self::TooFast => "too_fast",
            Self::Idle => "silent",
            Self::Protocol => "protocol",
            Self::NotText => "not_text",
            Self::TooLarge => "too_large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_control_frame() {
        for closing in Closing::ALL {
            let bytes = omgservers_ws::close(Some((closing.code(), closing.reason())));
            assert_eq!(usize::from(bytes[1]), 2 + closing.reason().len());
            assert_eq!(bytes[2..4], closing.code().to_be_bytes());
            assert_eq!(&bytes[4..], closing.reason().as_bytes());
        }
    }
}
