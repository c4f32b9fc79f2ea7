//! Rate limits per token, and one for all requests with unknown tokens together.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Limits the rate of requests of each token, and the rate of look-ups of unknown tokens.
pub struct TokenRates {
    tokens: DefaultKeyedRateLimiter<String>,
    unknown: DefaultDirectRateLimiter,
}

/// Error returned for a request above a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateExceeded;

/// Requests with unknown tokens per second. Each of them costs a look-up in the metadata store.
const UNKNOWN_TOKENS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

impl TokenRates {
    /// Creates limits of `per_second` requests for each token, with bursts of twice as many. 0 counts as 1.
    pub fn new(per_second: u32) -> Self {
        let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        Self {
            tokens: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
            unknown: RateLimiter::direct(Quota::per_second(UNKNOWN_TOKENS_PER_SECOND)),
        }
    }

    /// Counts a look-up of an unknown token.
    pub fn count_unknown(&self) -> Result<(), RateExceeded> {
        self.unknown.check().map_err(|_| RateExceeded)
    }

    /// Counts a request of the token with this id.
    pub fn count(&self, token: &str) -> Result<(), RateExceeded> {
        self.tokens.check_key(&token.to_owned()).map_err(|_| RateExceeded)
    }
}

impl std::fmt::Debug for TokenRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRates").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}
