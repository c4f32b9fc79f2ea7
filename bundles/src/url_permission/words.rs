//! Closed sets of words in a permission. None has a word for all of its members.

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
            /// Returns the word.
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
    /// Schemes of a permission.
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
    /// Methods of the contract `yoi:host/request`, in the order in which they are written.
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
    /// Returns the default port.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Ws => 80,
            Self::Https | Self::Wss => 443,
        }
    }

    /// `true` if URLs of this scheme open a WebSocket instead of sending a request.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// `true` if connections are encrypted.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }
}

/// Meaning of the star in a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wildcard {
    /// One label.
    Subdomain,
}

/// Addresses that a name may resolve to, apart from metadata services. Each variant includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressReach {
    /// Public addresses only.
    Public,
    /// Loopback addresses too, because the name is `localhost` or below it.
    Loopback,
    /// Special addresses too, because the permission has the mark `local` or names an address.
    Special,
}
