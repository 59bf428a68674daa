//! Why a connection ends.

/// Why the backend ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The peer has said so; it is answered.
    Asked,
    /// Another connection of the same client or runtime took its place.
    Replaced,
    /// The client is with another runtime, or with none, and knows it.
    Moved,
    /// The client's session is over.
    Over,
    /// The server stops.
    Stopping,
    /// The receiver doesn't take its text frames fast enough.
    TooSlow,
    /// A text of the player has found no room on the way to its runtime for too long.
    TooFast,
    /// Nothing came for too long, not even answers to pings.
    Silent,
    /// The peer breaks the protocol of WebSockets.
    Protocol,
    /// A text frame isn't UTF-8.
    NotText,
    /// A frame or a message is too large.
    TooLarge,
}

impl Closing {
    /// The code of the close frame, as RFC 6455 numbers them.
    pub const fn code(self) -> u16 {
        match self {
            Self::Asked | Self::Replaced | Self::Moved | Self::Over => 1000,
            Self::Stopping => 1001,
            Self::Silent | Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
            Self::TooSlow | Self::TooFast => 1013,
        }
    }

    /// The reason in the close frame.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Asked => "",
            Self::Replaced => "another connection took the place of this one",
            Self::Moved => "the client is with another runtime",
            Self::Over => "the session is over",
            Self::Stopping => "the server stops",
            Self::TooSlow => "frames are not taken fast enough",
            Self::TooFast => "the runtime does not keep up with the frames of this client",
            Self::Silent => "nothing was heard for too long",
            Self::Protocol => "this is not the WebSocket protocol",
            Self::NotText => "a text frame is not UTF-8",
            Self::TooLarge => "a frame is too large",
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Asked,
        Self::Replaced,
        Self::Moved,
        Self::Over,
        Self::Stopping,
        Self::TooSlow,
        Self::TooFast,
        Self::Silent,
        Self::Protocol,
        Self::NotText,
        Self::TooLarge,
    ];

    /// The label of the metric.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Replaced => "replaced",
            Self::Moved => "moved",
            Self::Over => "over",
            Self::Stopping => "stopping",
            Self::TooSlow => "too_slow",
            Self::TooFast => "too_fast",
            Self::Silent => "silent",
            Self::Protocol => "protocol",
            Self::NotText => "not_text",
            Self::TooLarge => "too_large",
        }
    }
}
