// The world `tool` in JavaScript: two functions that use the HTTP API of an issue tracker.
//
// A fresh instance answers each call, so nothing is kept between calls. The host adds the secret to each request.

import { write } from 'yoi:host/log@1.0.0';
import { send } from 'yoi:host/request@1.0.0';

const API = 'https://tracker.example.com/api/v2';

// Name of the secret in `plugin.toml`.
const CREDENTIAL = 'issue-tracker-token';

// Longest time for one exchange.
const MAX_EXCHANGE_MS = 30000;

// A failure of the contract. `throw` returns it as the error of the call.
class ToolFailure {
  constructor(kind, code, message) {
    Object.assign(this, { kind, code, message });
  }
}

const TOOLS = new Map([
  ['issues.search', search],
  ['issues.create', create],
]);

// The exported interface `tools`.
export const tools = {
  call(invocation) {
    try {
      return JSON.stringify(TOOLS.get(invocation.tool)(JSON.parse(invocation.input), invocation));
    } catch (thrown) {
      if (thrown instanceof ToolFailure) throw thrown;
      // Anything else that is thrown would end the call as a trap without a message.
      write('error', String(thrown));
      throw new ToolFailure('failed', 'unexpected', 'The tool failed unexpectedly.');
    }
  },
};

function search({ query }, { remainingMs }) {
  const url = `${API}/search?q=${encodeURIComponent(query)}`;
  const answer = exchange({ method: 'get', url, headers: [], body: [] }, remainingMs);
  if (!Array.isArray(answer)) throw unexpectedAnswer('it is not a list');
  return answer.map((ticket) => {
    if (!isText(ticket?.title)) throw unexpectedAnswer('a ticket has no title');
    return { id: idOf(ticket), title: ticket.title };
  });
}

function create({ title, text }, { id, remainingMs }) {
  // `JSON.stringify` leaves out a text that is undefined.
  const body = toUtf8(JSON.stringify({ title, text }));
  // The host never runs a call twice. The key covers proxies and the tracker itself.
  const headers = [
    ['content-type', 'application/json'],
    ['idempotency-key', id],
  ];
  const answer = exchange({ method: 'post', url: `${API}/tickets`, headers, body }, remainingMs);
  return { id: idOf(answer) };
}

// Sends a request and returns the JSON value of the answer.
function exchange(request, remainingMs) {
  const headers = [['accept', 'application/json'], ...request.headers];
  // Less than the call has left, so that the model gets a failure. `| 0` keeps the number an integer for the engine.
  const left = Math.min(remainingMs, MAX_EXCHANGE_MS);
  const timeoutMs = (left - left / 8) | 0;
  let response;
  try {
    response = send({ ...request, headers, credential: CREDENTIAL, timeoutMs });
  } catch (thrown) {
    // QuickJS throws an error with the failure as its `payload`.
    throw failureOfHost(thrown?.payload) ?? thrown;
  }
  const refused = failureOfStatus(response.status);
  if (refused !== undefined) throw refused;
  let text;
  try {
    text = fromUtf8(response.body);
  } catch {
    throw unexpectedAnswer('it is not UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch {
    throw unexpectedAnswer('it is not JSON');
  }
}

// Returns the failure of the tool for a failure of the host, or undefined if the value is no failure of the host.
function failureOfHost(failure) {
  const val = failure?.val;
  switch (failure?.tag) {
    case 'denied':
      return new ToolFailure('denied', /^[a-z][a-z0-9_]{0,63}$/.test(val.code) ? val.code : 'denied', val.message);
    case 'invalid-url':
      return new ToolFailure('invalid-input', 'invalid_url', `Invalid URL: ${val}`);
    case 'too-large': {
      const side = val.side === 'sent' ? 'request' : 'response';
      return new ToolFailure('failed', 'too_large', `The ${side} exceeds a limit of the host (${val.bytes} bytes).`);
    }
    case 'rate-limited': {
      const message = `The host sends no more requests now. Try again after ${val.retryAfterMs} ms.`;
      return new ToolFailure('unavailable', 'rate_limited', message);
    }
    case 'timed-out':
      return new ToolFailure('unavailable', 'timed_out', 'The tracker did not answer in time.');
    case 'cancelled':
      return new ToolFailure('unavailable', 'cancelled', 'The call ended before the response was complete.');
    case 'unreachable':
      return new ToolFailure('unavailable', `unreachable_${val}`, 'The tracker could not be reached.');
    default:
      return undefined;
  }
}

// Returns the failure for a status, or undefined if the request succeeded. Redirects are not followed.
function failureOfStatus(status) {
  if (status === 200 || status === 201) return undefined;
  if (status === 401 || status === 403) {
    return new ToolFailure('denied', 'tracker_refused', `The tracker refused the request with status ${status}.`);
  }
  if (status === 404) return new ToolFailure('failed', 'not_found', 'The tracker did not find what was requested.');
  if (status === 429 || status >= 500) {
    const message = `The tracker is not available (status ${status}). Try again later.`;
    return new ToolFailure('unavailable', 'tracker_unavailable', message);
  }
  return new ToolFailure('failed', 'unexpected_status', `The tracker answered with status ${status}.`);
}

function unexpectedAnswer(reason) {
  return new ToolFailure('failed', 'unexpected_answer', `The answer of the tracker is not as expected: ${reason}.`);
}

// Returns the id of a ticket, which is a text or an integer.
function idOf(ticket) {
  const id = ticket?.id;
  if (!Number.isSafeInteger(id) && !isText(id)) throw unexpectedAnswer('a ticket has no id');
  return id;
}

// Returns true for a string without lone surrogates. JSON can contain them as escapes, and the host refuses such output.
function isText(value) {
  return typeof value === 'string' && !/[\ud800-\udfff]/u.test(value);
}

// The following functions do the work of `TextEncoder` and `TextDecoder`, which an engine may not have. The functions of the
// language for URIs convert between text and percent-encoded UTF-8, and throw if the text or the bytes are malformed.

function toUtf8(text) {
  const encoded = encodeURIComponent(text);
  const bytes = [];
  for (let at = 0; at < encoded.length; at += 1) {
    if (encoded[at] === '%') {
      bytes.push(parseInt(encoded.slice(at + 1, at + 3), 16));
      at += 2;
    } else {
      bytes.push(encoded.charCodeAt(at));
    }
  }
  return new Uint8Array(bytes);
}

function fromUtf8(bytes) {
  const parts = [];
  // Engines limit the number of arguments of a call.
  for (let at = 0; at < bytes.length; at += 4096) {
    parts.push(String.fromCharCode(...bytes.slice(at, at + 4096)));
  }
  const encoded = parts.join('').replace(/[%\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
  return decodeURIComponent(encoded);
}
