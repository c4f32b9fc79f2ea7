//! Edge of an HTTP server: everything that happens between a socket and a route.
//!
//! [`HttpEdge`] limits connections, heads, bodies and response times, checks the `Host` and `Origin` headers, writes the
//! request log and counts metrics. It knows no route and no kind of token: routes tell it, through [`RequestConnection`]
//! and [`RequestLabels`], for whom a request is answered. Errors are [`Problem`]s.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use http_edge::{Hosts, HttpEdge, ServerLimits};
//!
//! # async fn example() -> std::io::Result<()> {
//! let hosts = Hosts { hosts: ["127.0.0.1:8080".to_owned()].into(), ..Hosts::default() };
//! let edge = HttpEdge::new(hosts, ServerLimits::default());
//! let router = edge.wrap(Router::new().route("/livez", get(|| async { "ok\n" })));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! edge.serve(router, listener, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

mod body;
mod connections;
mod hosts;
mod limits;
mod metrics;
mod pace;
mod problem;
mod rates;
mod server;

pub use body::body_holding;
pub use connections::{Owner, RequestConnection, ShareReached};
pub use hosts::Hosts;
pub use limits::ServerLimits;
pub use metrics::{GaugeGuard, HttpMetrics, RequestLabels};
pub use problem::{Problem, ProblemBody};
pub use rates::{RateExceeded, TokenRates};
pub use server::{HttpEdge, ShutdownSummary};
