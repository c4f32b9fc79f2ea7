// Keeps the content of an open page up to date. Without this script, pages work and are reloaded by hand.
//
// All tabs of a browser share one event stream, because HTTP/1.1 gives a browser only six connections to a host: the tab that
// holds a lock opens the stream and passes its events on. Where there are no locks, each tab reloads every ten seconds.
"use strict";

const POLL_MS = 10000;
// A large page takes long to load, so it is loaded less often.
const MIN_PAUSE_MS = 500;
const PAUSE_FACTOR = 4;

const status = document.getElementById("live");
let current = document.body.dataset.digest;
let wanted = null;
let loading = false;
let ended = false;

function show(text) {
  if (status && status.textContent !== text) status.textContent = text;
}

// Content under a field that a person fills in is not replaced.
function isEditing() {
  const active = document.activeElement;
  return active !== null && active.closest("main") !== null && active.matches("input, select, textarea");
}

function replaceMain(next) {
  const main = document.querySelector("main");
  const open = [...main.querySelectorAll("details")].map((details) => details.open);
  const scrolled = [...main.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
  const focused = [...main.querySelectorAll("a, button, summary, .scroll")].indexOf(document.activeElement);
  main.replaceChildren(...document.adoptNode(next).childNodes);
  main.querySelectorAll("details").forEach((details, index) => (details.open = open[index] === true));
  main.querySelectorAll(".scroll").forEach((region, index) => (region.scrollLeft = scrolled[index] || 0));
  if (focused >= 0) {
    const again = main.querySelectorAll("a, button, summary, .scroll")[focused];
    if (again) again.focus({ preventScroll: true });
  }
}

async function load() {
  if (loading || ended) return;
  loading = true;
  const began = performance.now();
  try {
    const response = await fetch(location.href, { redirect: "error" });
    const isPage = (response.headers.get("content-type") || "").startsWith("text/html");
    const next = isPage ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
    if (response.ok && next && next.body.dataset.digest) {
      if (!isEditing()) {
        if (next.body.dataset.digest !== current) replaceMain(next.querySelector("main"));
        current = next.body.dataset.digest;
        wanted = wanted === current ? null : wanted;
      }
    } else if (response.status === 401) {
      ended = true;
      replaceMain(next.querySelector("main"));
      show("Logged out");
      stop();
    }
  } catch {
    show("Not connected");
  }
  loading = false;
  const pause = Math.max(MIN_PAUSE_MS, PAUSE_FACTOR * (performance.now() - began));
  setTimeout(() => {
    // Something changed while the page was loaded.
    if (wanted !== null && wanted !== current) load();
  }, pause);
}

function changed(digest) {
  if (digest === current) return;
  wanted = digest;
  load();
}

let stop = () => {};

function poll() {
  show("Updated every 10 s");
  const timer = setInterval(() => load(), POLL_MS);
  stop = () => clearInterval(timer);
}

function share() {
  const channel = new BroadcastChannel("yoi-live");
  // The newest digest, in the tab that has the stream.
  let newest = null;
  const receive = ({ live, digest }) => {
    if (ended) return;
    show(live ? "Live" : "Not connected");
    if (digest) changed(digest);
    else if (!live) load();
  };
  channel.onmessage = (event) => {
    // A tab that was opened later asks for the newest digest.
    if (!event.data.ask) receive(event.data);
    else if (newest !== null) channel.postMessage({ live: true, digest: newest });
  };
  const tell = (message) => {
    channel.postMessage(message);
    receive(message);
  };
  // Held until the tab is closed. Then another tab gets the lock and opens a stream.
  navigator.locks.request("yoi-live", () => new Promise((release) => {
    let source = null;
    let timer = 0;
    const open = () => {
      source = new EventSource("/live");
      source.addEventListener("changed", (event) => {
        newest = event.data;
        tell({ live: true, digest: newest });
      });
      source.onerror = () => {
        newest = null;
        tell({ live: false, digest: null });
        // The browser connects again by itself, unless the server refused.
        if (source.readyState === EventSource.CLOSED && !ended) timer = setTimeout(open, POLL_MS);
      };
    };
    stop = () => {
      clearTimeout(timer);
      if (source) source.close();
      release();
    };
    open();
  }));
  channel.postMessage({ ask: true });
}

if (current) {
  if (navigator.locks && window.BroadcastChannel) share();
  else poll();
  document.addEventListener("focusout", () => setTimeout(() => {
    if (wanted !== null && wanted !== current) load();
  }, 0));
}
