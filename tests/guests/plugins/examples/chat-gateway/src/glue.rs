//! The exported interfaces `lifecycle` and `tools`, and all calls of the host.
//!
//! One instance takes all turns, one at a time, so the state is an ordinary variable of the thread.
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated")]

use std::cell::RefCell;

use exports::yoi::plugin::lifecycle::{self, Event, HandleFailure, NextTurn, State, WakeReason};
use exports::yoi::plugin::tools::{self, Invocation, ToolFailure};
use serde_json::{Value, json};
use yoi::host::log::{Level, write};
use yoi::host::monotonic_clock;
use yoi::host::websocket::{Connection, Failure, Message, Outgoing};
use yoi::plugin::types::ToolFailureKind;

use crate::config::Config;
use crate::gateway::{Gateway, describe};
use crate::tool;

wit_bindgen::generate!({ path: "../../../../../wit", world: "service", generate_all });

/// Subprotocol and secret, as `plugin.toml` declares them.
const SUBPROTOCOL: &str = "chat.v1";
const CREDENTIAL: &str = "chat-token";

const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// Time for a handshake. The service receives no calls meanwhile.
const OPEN_TIMEOUT_MS: u32 = 5_000;

/// Messages that one turn receives. Further messages wait for the next turn, so that calls get their turn.
const MAX_MESSAGES_PER_TURN: usize = 256;

thread_local! {
    /// `None` until the service has started.
    static GATEWAY: RefCell<Option<Gateway<Connection>>> = const { RefCell::new(None) };
}

struct ChatGateway;

export!(ChatGateway);

impl lifecycle::Guest for ChatGateway {
    fn start(config: String) -> Result<NextTurn, String> {
        let mut gateway = Gateway::new(Config::parse(&config)?, now());
        let next = take_turn(&mut gateway);
        GATEWAY.set(Some(gateway));
        Ok(next)
    }

    fn handle(_: Event) -> Result<(), HandleFailure> {
        Err(HandleFailure::Permanent("the service has no ingress".to_owned()))
    }

    fn wake(_: WakeReason) -> Result<NextTurn, String> {
        with_gateway(take_turn).ok_or_else(|| "the service has not started".to_owned())
    }

    fn status() -> State {
        let not_started = || State { ready: false, detail: "not started".to_owned() };
        with_gateway(|gateway| gateway.state()).unwrap_or_else(not_started)
    }

    fn stop() {
        with_gateway(|gateway| {
            if let Some(connection) = gateway.open_connection()
                && let Err(failure) = connection.close(1000, "")
            {
                write(Level::Warn, &format!("cannot close the connection: {}", describe(&failure)));
            }
        });
    }
}

impl tools::Guest for ChatGateway {
    fn call(invocation: Invocation) -> Result<String, ToolFailure> {
        let input: Value = serde_json::from_str(&invocation.input)
            .map_err(|error| tool::failure(ToolFailureKind::InvalidInput, "invalid_json", &error.to_string()))?;
        let answer = with_gateway(|gateway| match invocation.tool.as_str() {
            "chat.recent" => Ok(tool::recent(gateway, &input)),
            "chat.send" => send(gateway, &input),
            other => {
                let message = format!("There is no tool `{other}`.");
                Err(tool::failure(ToolFailureKind::Failed, "unknown_tool", &message))
            }
        });
        answer.unwrap_or_else(|| Err(tool::not_connected("The service has not started.")))
    }
}

/// Runs a function with the state, or returns `None` if the service has not started.
fn with_gateway<T>(run: impl FnOnce(&mut Gateway<Connection>) -> T) -> Option<T> {
    GATEWAY.with_borrow_mut(|gateway| gateway.as_mut().map(run))
}

/// Returns the milliseconds of the monotonic clock.
fn now() -> u64 {
    monotonic_clock::now() / 1_000_000
}

/// Does everything that is due, whatever the reason of the turn, and returns the next turn.
fn take_turn(gateway: &mut Gateway<Connection>) -> NextTurn {
    if gateway.is_heartbeat_due(now()) {
        // Scheduled before it is sent, so that a rate limit does not lead to a turn at once.
        gateway.schedule_heartbeat(now());
        if let Some(connection) = gateway.open_connection()
            && let Err(failure) = connection.send(&Message::Text(HEARTBEAT.to_owned()))
        {
            lost(gateway, &failure);
        }
    }
    receive(gateway);
    if gateway.is_attempt_due(now()) {
        connect(gateway);
    }
    gateway.next_turn(now())
}

/// Receives the messages that wait, and drops the connection if it has ended.
fn receive(gateway: &mut Gateway<Connection>) {
    for _ in 0..MAX_MESSAGES_PER_TURN {
        let Some(connection) = gateway.connection() else { return };
        match connection.try_receive() {
            Ok(Some(Message::Text(text))) => gateway.messages.push(text),
            Ok(Some(Message::Binary(_))) => {}
            Ok(None) => break,
            Err(failure) => {
                lost(gateway, &failure);
                break;
            }
        }
    }
    drop(gateway.take_ended());
}

fn connect(gateway: &mut Gateway<Connection>) {
    let outgoing = Outgoing {
        url: gateway.url().to_owned(),
        subprotocols: vec![SUBPROTOCOL.to_owned()],
        credential: Some(CREDENTIAL.to_owned()),
        timeout_ms: Some(OPEN_TIMEOUT_MS),
    };
    match Connection::open(&outgoing) {
        Ok(connection) => {
            write(Level::Info, "connected");
            gateway.opened(connection, now());
        }
        Err(failure) => {
            write(Level::Warn, &format!("cannot connect: {}", describe(&failure)));
            gateway.not_opened(&failure, now());
        }
    }
}

/// Sends the message of a call.
///
/// A call cannot ask for a turn: the host wakes the service as the last `start` or `wake` asked for. While the connection
/// was open, they asked for a turn when the connection is readable, and for one after at most `heartbeat_ms` in any case.
/// So a connection that a call finds closed is only marked here, and not dropped. A closed connection is readable, and the
/// host wakes the service at once; if it did not, the timer of the heartbeat would. That turn drops the connection, and
/// connects again when the delay that began with the call has passed. Without a connection, the timer of the next attempt
/// is set already.
fn send(gateway: &mut Gateway<Connection>, input: &Value) -> Result<String, ToolFailure> {
    let message = tool::message(input)?;
    let Some(connection) = gateway.open_connection() else {
        return Err(tool::not_connected("The chat is not connected. The message was not sent."));
    };
    let Err(failure) = connection.send(&Message::Text(message)) else {
        return Ok(json!({}).to_string());
    };
    lost(gateway, &failure);
    Err(tool::not_sent(&failure))
}

/// Records a failure of the connection.
fn lost(gateway: &mut Gateway<Connection>, failure: &Failure) {
    if gateway.lost(failure, now()) {
        write(Level::Warn, &format!("connection lost: {}", describe(failure)));
    }
}
