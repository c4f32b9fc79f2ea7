//! The closed vocabularies of a permission. None has a word for everything, and none grows at run time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::invalid::InvalidUrlPermission;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$case_doc])* #[serde(rename = $word)] $case,)*
        }

        impl $name {
            /// The one spelling.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidUrlPermission;

            fn from_str(text: &str) -> Result<Self, InvalidUrlPermission> {
                match text {
                    $($word => Ok(Self::$case),)*
                    _ => Err(InvalidUrlPermission::$name { text: text.to_owned() }),
                }
            }
        }
    };
}

words! {
    /// The schemes that a permission may be for. There is no word for all of them.
    Scheme {
        /// Plain HTTP requests.
        Http = "http",
        /// HTTP requests over TLS.
        Https = "https",
        /// Plain WebSocket connections.
        Ws = "ws",
        /// WebSocket connections over TLS.
        Wss = "wss",
    }
}

words! {
    /// The methods of the contract `yoi:host/request`, in the order in which they are written.
    Method {
        /// `DELETE`.
        Delete = "DELETE",
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `PATCH`.
        Patch = "PATCH",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
    }
}

impl Scheme {
    /// The port that is meant where none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Ws => 80,
            Self::Https | Self::Wss => 443,
        }
    }

    /// Whether URLs of this scheme open a WebSocket rather than carry a request.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// What the star of a host stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wildcard {
    /// One label.
    Subdomain,
}

/// What a permission says about the addresses that a name may turn out to have. Each reach includes
/// the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressReach {
    /// Public addresses only.
    Public,
    /// Loopback as well, because the name is `localhost` or below it.
    Loopback,
    /// Special addresses as well: `local` says so, or an address itself is named.
    Special,
}
