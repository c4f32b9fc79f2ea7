//! Operation of a Runtime: tokens, resolvers, garbage collection. Lists of resolvers require the scope `read` or `operator`,
//! [`Client::resolve`] the scope `workers`, all other requests the scope `operator`.

use bundles::Digest;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use runtime_api::body::{COMPONENT, EventPage, IssueTokenRequest, IssuedToken, ResolverList, TokenList};
use runtime_api::comparison::{ActivateRequest, ComparisonStatus};
use runtime_api::event::Event;
use runtime_api::resolver::ResolverSummary;
use runtime_api::runtime::Garbage;
use runtime_api::token::{TokenGrant, TokenId, TokenSummary};
use runtime_api::worker::CreateWorkerRequest;
use secrecy::SecretString;

use super::{Client, ClientError, UnexpectedResponse};

impl Client {
    /// Issues a token. There are no retries. If the connection closes before the response, the token may exist although the
    /// caller does not have it; [`tokens`](Self::tokens) lists it.
    pub async fn issue_token(&self, grant: TokenGrant) -> Result<(TokenSummary, SecretString), ClientError> {
        let request = IssueTokenRequest::from(grant);
        let issued: IssuedToken = self.request(Method::POST, ["v1", "tokens"]).json(&request).send_json().await?;
        Ok((issued.summary, SecretString::from(issued.token)))
    }

    /// Returns all tokens, without their secret part.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, ClientError> {
        Ok(self.request(Method::GET, ["v1", "tokens"]).send_json::<TokenList>().await?.tokens)
    }

    /// Revokes a token. The operation is idempotent.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<TokenSummary, ClientError> {
        self.request(Method::DELETE, ["v1", "tokens", id.as_str()]).send_json().await
    }

    /// Removes unused blobs.
    pub async fn collect_garbage(&self) -> Result<Garbage, ClientError> {
        self.request(Method::DELETE, ["v1", "garbage"]).timeout(self.shared.timeouts.work).send_json().await
    }

    /// Admits a resolver. The second value is `true` if the Runtime did not have it before.
    pub async fn put_resolver(&self, component: Bytes) -> Result<(ResolverSummary, bool), ClientError> {
        let digest = Digest::of(&component);
        let request = self.request(Method::PUT, ["v1", "resolvers", &digest.to_string()]).body(COMPONENT, component);
        let response = request.timeout(self.shared.timeouts.work).send().await?;
        let new = response.status() == StatusCode::CREATED;
        Ok((checked(digest, response.json().await?)?, new))
    }

    /// Returns all resolvers of the Runtime, including revoked ones.
    pub async fn resolvers(&self) -> Result<Vec<ResolverSummary>, ClientError> {
        Ok(self.request(Method::GET, ["v1", "resolvers"]).send_json::<ResolverList>().await?.resolvers)
    }

    /// Activates an admitted or retired resolver. There are no retries. The operation is idempotent.
    pub async fn activate_resolver(
        &self,
        digest: Digest,
        request: &ActivateRequest,
    ) -> Result<ResolverSummary, ClientError> {
        let sent = self.request(Method::POST, ["v1", "resolvers", &digest.to_string(), "activate"]).json(request);
        checked(digest, sent.timeout(self.shared.timeouts.work).send_json().await?)
    }

    /// Begins to compare the active resolver with another one, over the recorded resolutions of the Runtime.
    pub async fn compare_resolver(&self, digest: Digest) -> Result<ComparisonStatus, ClientError> {
        self.comparison_request(Method::POST, digest).await
    }

    /// Returns the newest comparison with a resolver, or its progress.
    pub async fn comparison(&self, digest: Digest) -> Result<ComparisonStatus, ClientError> {
        self.comparison_request(Method::GET, digest).await
    }

    /// Cancels the comparison with a resolver.
    pub async fn cancel_comparison(&self, digest: Digest) -> Result<ComparisonStatus, ClientError> {
        self.comparison_request(Method::DELETE, digest).await
    }

    async fn comparison_request(&self, method: Method, digest: Digest) -> Result<ComparisonStatus, ClientError> {
        let request = self.request(method, ["v1", "resolvers", &digest.to_string(), "comparison"]);
        let status: ComparisonStatus = request.timeout(self.shared.timeouts.work).send_json().await?;
        if status.after == digest {
            Ok(status)
        } else {
            Err(ClientError::Unexpected(UnexpectedResponse::Contradiction))
        }
    }

    /// Activates the resolver that was active before. There are no retries: another request would go back further.
    pub async fn rollback_resolver(&self) -> Result<ResolverSummary, ClientError> {
        let request = self.request(Method::POST, ["v1", "resolvers", "rollback"]);
        request.timeout(self.shared.timeouts.work).send_json().await
    }

    /// Removes a resolver that nothing uses.
    pub async fn remove_resolver(&self, digest: Digest) -> Result<(), ClientError> {
        self.request(Method::DELETE, ["v1", "resolvers", &digest.to_string()]).send_ignore_body().await
    }

    /// Returns at most `max_items` of the Runtime's own events after the event with the number `after`, oldest first: the
    /// changes of its resolvers.
    pub async fn runtime_events(&self, after: u64, max_items: usize) -> Result<Vec<Event>, ClientError> {
        let request = self.request(Method::GET, ["v1", "runtime", "events"]).query("after", after);
        Ok(request.query("limit", max_items).send_json::<EventPage>().await?.events)
    }

    /// Revokes a resolver and stops the workers that it resolved. There are no retries. The operation is idempotent.
    pub async fn revoke_resolver(&self, digest: Digest) -> Result<ResolverSummary, ClientError> {
        let request = self.request(Method::POST, ["v1", "resolvers", &digest.to_string(), "revoke"]);
        checked(digest, request.send_json().await?)
    }

    /// Resolves a profile without creating a worker. Returns the report that `yoi resolve --format json` prints.
    pub async fn resolve(&self, request: &CreateWorkerRequest) -> Result<serde_json::Value, ClientError> {
        let request = self.request(Method::POST, ["v1", "resolve"]).json(request);
        request.timeout(self.shared.timeouts.work).send_json().await
    }
}

/// Checks that the Runtime returned the requested resolver.
fn checked(digest: Digest, resolver: ResolverSummary) -> Result<ResolverSummary, ClientError> {
    if resolver.digest == digest {
        Ok(resolver)
    } else {
        Err(ClientError::Unexpected(UnexpectedResponse::Contradiction))
    }
}
