//! What an operator asks of a Runtime: tokens, resolvers, garbage. All but reading needs the scope
//! `operator`.

use bundles::Digest;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use runtime_api::body::{COMPONENT, EventPage, IssueTokenRequest, IssuedToken, ResolverList, TokenList};
use runtime_api::event::Event;
use runtime_api::resolver::ResolverSummary;
use runtime_api::runtime::Garbage;
use runtime_api::token::{TokenGrant, TokenId, TokenSummary};
use runtime_api::worker::CreateWorkerRequest;
use secrecy::SecretString;

use super::{Client, ClientError, Unexpected};

impl Client {
    /// Makes a token. It is sent once: where the connection ends before the answer there may be a token that
    /// nobody has; [`tokens`](Self::tokens) tells of it.
    pub async fn issue_token(&self, grant: TokenGrant) -> Result<(TokenSummary, SecretString), ClientError> {
        let request = IssueTokenRequest::from(grant);
        let issued: IssuedToken = self.ask(Method::POST, ["v1", "tokens"]).json(&request).answer().await?;
        Ok((issued.summary, SecretString::from(issued.token)))
    }

    /// All tokens, without what lets anybody in.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, ClientError> {
        Ok(self.ask(Method::GET, ["v1", "tokens"]).answer::<TokenList>().await?.tokens)
    }

    /// Refuses a token from here on. Doing so twice is doing so once.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<TokenSummary, ClientError> {
        self.ask(Method::DELETE, ["v1", "tokens", id.as_str()]).answer().await
    }

    /// Takes away what nothing uses.
    pub async fn collect_garbage(&self) -> Result<Garbage, ClientError> {
        self.ask(Method::DELETE, ["v1", "garbage"]).within(self.shared.deadlines.work).answer().await
    }

    /// Takes a resolver in. Whether it is new there.
    pub async fn put_resolver(&self, component: Bytes) -> Result<(ResolverSummary, bool), ClientError> {
        let digest = Digest::of(&component);
        let ask = self.ask(Method::PUT, ["v1", "resolvers", &digest.to_string()]).body(COMPONENT, component);
        let answer = ask.within(self.shared.deadlines.work).send().await?;
        let new = answer.status() == StatusCode::CREATED;
        Ok((of(digest, answer.json().await?)?, new))
    }

    /// The resolvers that are known there.
    pub async fn resolvers(&self) -> Result<Vec<ResolverSummary>, ClientError> {
        Ok(self.ask(Method::GET, ["v1", "resolvers"]).answer::<ResolverList>().await?.resolvers)
    }

    /// Activates an admitted or retired resolver.
    pub async fn activate_resolver(&self, digest: Digest) -> Result<ResolverSummary, ClientError> {
        let ask = self.ask(Method::POST, ["v1", "resolvers", &digest.to_string(), "activate"]);
        of(digest, ask.within(self.shared.deadlines.work).answer().await?)
    }

    /// Activates the resolver that was active before. Sent once: repeating the request would go back further.
    pub async fn rollback_resolver(&self) -> Result<ResolverSummary, ClientError> {
        self.ask(Method::POST, ["v1", "resolvers", "rollback"]).within(self.shared.deadlines.work).answer().await
    }

    /// Removes a resolver that nothing uses.
    pub async fn remove_resolver(&self, digest: Digest) -> Result<(), ClientError> {
        self.ask(Method::DELETE, ["v1", "resolvers", &digest.to_string()]).done().await
    }

    /// Returns at most `max_items` of the Runtime's own events after the event with the number `after`, oldest first: the
    /// changes of its resolvers.
    pub async fn runtime_events(&self, after: u64, max_items: usize) -> Result<Vec<Event>, ClientError> {
        let ask = self.ask(Method::GET, ["v1", "runtime", "events"]).query("after", after).query("limit", max_items);
        Ok(ask.answer::<EventPage>().await?.events)
    }

    /// Declares that a resolver must not be used any more.
    pub async fn revoke_resolver(&self, digest: Digest) -> Result<ResolverSummary, ClientError> {
        let ask = self.ask(Method::POST, ["v1", "resolvers", &digest.to_string(), "revoke"]);
        of(digest, ask.answer().await?)
    }

    /// What a worker that is asked for like that would be: the report that `yoi resolve` prints.
    pub async fn resolve(&self, request: &CreateWorkerRequest) -> Result<serde_json::Value, ClientError> {
        let ask = self.ask(Method::POST, ["v1", "resolve"]).json(request);
        ask.within(self.shared.deadlines.work).answer().await
    }
}

/// The resolver that was asked for, and no other.
fn of(digest: Digest, resolver: ResolverSummary) -> Result<ResolverSummary, ClientError> {
    if resolver.digest == digest { Ok(resolver) } else { Err(ClientError::Unexpected(Unexpected::Contradiction)) }
}
