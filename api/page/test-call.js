// The page: set up or sign in, choose a bot, call, watch, and look at what was kept.
import { api, fleet, hasSession, needsSetup, setUp, setupToken, signIn } from "./client.js";
import { Call } from "./call.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const KEYS = "123456789*0#";
const KEPT_WITHIN_MS = 30000;
// Events of every call, of no interest to the one who talks.
const USUAL = ["call_started", "stt_connected", "tts_connected", "opening_done", "turn"];
let call, transcript, began, ended;

function phase(name) { main.dataset.phase = name; }

function notice(text) {
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
}

function onCall(yes) {
  $("call").hidden = yes;
  $("bot").disabled = yes;
  $("hangup").hidden = $("mute").hidden = !yes;
  $("inputs").hidden = !yes;
}

async function showFleet() {
  const seen = await fleet();
  $("fleet").textContent = seen ? `${seen.free} of ${seen.all} workers free` : "";
}

// One of the page's first cards, or none.
function show(name) {
  for (const id of ["set-up", "sign-in", "place"]) $(id).hidden = id !== name;
}

async function begin() {
  showFleet();
  if (!hasSession()) {
    show(await door());
    return;
  }
  try {
    const { items } = await api("/bots?limit=200");
    $("bot").replaceChildren(...items.filter((bot) => bot.is_active !== false).map((bot) => {
      const option = document.createElement("option");
      option.value = bot.id;
      option.textContent = bot.name;
      return option;
    }));
    show("place");
    notice($("bot").options.length ? null : "There is no active bot yet.");
    $("call").disabled = !$("bot").options.length;
  } catch (error) {
    notice(error.status === 401 ? null : error.message);
    show(error.status === 401 ? await door() : null);
  }
}

// What a visitor without a session sees.
async function door() {
  const needed = await needsSetup().catch(() => false);
  if (needed) $("setup-token").value ||= setupToken();
  return needed ? "set-up" : "sign-in";
}

// Sends a form of the door; its refusal is the notice.
function enter(form, send) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send();
      begin();
    } catch (error) {
      notice(error.message);
      if (error.code === "already_bootstrapped") show("sign-in");
    }
  });
}

function variables() {
  const out = {};
  for (const line of $("variables").value.split("\n")) {
    const [, name, value] = line.match(/^\s*([\w.]+)\s*=\s*(.*?)\s*$/) ?? [];
    if (name) out[name] = value;
  }
  return out;
}

function state(value) {
  $("state").textContent = value;
  $("state").dataset.value = value;
}

const takers = {
  ready: () => phase("talking"),
  transcript: (message) => transcript.update(message),
  state: ({ value }) => state(value),
  latency: ({ total_ms: total }) => {
    if (Number.isFinite(total)) $("latency").textContent = `answered in ${Math.round(total)} ms`;
  },
  event: ({ event }) => {
    const name = event?.type ?? String(event);
    if (!USUAL.includes(name)) transcript.event(name.replaceAll("_", " "));
  },
  end: (message) => { ended = message; },
};

function showLevel({ detail: { side, level } }) {
  $(`level-${side}`).value = Math.min(1, level * 3);
}

function tick() {
  if (!call) return;
  const seconds = Math.floor((performance.now() - began) / 1000);
  $("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  setTimeout(tick, 500);
}

const BUSY = "Every call worker is busy. Try again in a moment.";

async function whyRefused() {
  const seen = await fleet();
  if (seen?.free === 0) return BUSY;
  return "No call worker took the call. Try again; if it stays so, look at cxbctl status.";
}

async function place() {
  notice(null);
  ended = null;
  $("stored").hidden = true;
  $("call").disabled = true;
  phase("connecting");
  try {
    call = await Call.prepare();
    const ticket = await api(`/bots/${encodeURIComponent($("bot").value)}/test-call`,
      { kind: "browser", variables: variables() });
    transcript = new Transcript($("transcript"));
    state("connecting");
    $("latency").textContent = "";
    $("live").hidden = false;
    onCall(true);
    call.addEventListener("message", ({ detail }) => takers[detail.type]?.(detail));
    call.addEventListener("level", showLevel);
    call.addEventListener("closed", ({ detail }) => over(ticket.session_id, detail));
    began = performance.now();
    tick();
    call.connect(ticket.ws_url, ticket.ticket);
  } catch (error) {
    call?.release();
    call = null;
    phase("idle");
    notice(error.code === "no_capacity" ? BUSY : error.message);
  } finally {
    $("call").disabled = false;
  }
}

async function over(sessionId, { opened }) {
  call = null;
  onCall(false);
  state("ended");
  $("mute").setAttribute("aria-pressed", "false");
  if (!opened) {
    $("live").hidden = true;
    phase("idle");
    notice(await whyRefused());
    return;
  }
  phase("ended");
  showFleet();
  notice(ended?.error ? `The call ended with an error: ${ended.error}.` : null);
  await showStored(sessionId);
}

// The result is delivered after the call: asked for until it is there.
async function kept(sessionId) {
  const deadline = performance.now() + KEPT_WITHIN_MS;
  for (;;) {
    const found = await api(`/calls/${encodeURIComponent(sessionId)}`);
    if (found.status !== "in_progress" || performance.now() > deadline) return found;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function facts(found) {
  const rows = [
    ["Status", found.status], ["Ended by", found.disconnected_by], ["Error", found.error],
    ["Length", found.call_duration_seconds && `${found.call_duration_seconds} s`],
    ["Answers in", found.latency?.p50_ms && `${found.latency.p50_ms} ms (median)`],
    ["Outcome", found.disposition], ["Session", found.session_id],
  ];
  $("facts").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

async function showStored(sessionId) {
  try {
    const found = await kept(sessionId);
    facts(found);
    Transcript.show($("kept"), found.transcript ?? []);
    $("recording").hidden = !found.recording_play_url;
    if (found.recording_play_url) $("audio").src = found.recording_play_url;
    $("stored").hidden = false;
    $("stored-title").focus();
    if (found.status === "in_progress") notice("The result of the call has not arrived yet.");
    else phase("kept");
  } catch (error) {
    notice(`The call cannot be shown: ${error.message}`);
  }
}

$("dial").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!call) place();
});
enter("sign-in", () => signIn($("email").value, $("password").value));
enter("set-up", () => setUp({
  token: $("setup-token").value.trim(), email: $("setup-email").value,
  name: $("setup-name").value, password: $("setup-password").value,
}));
$("hangup").addEventListener("click", () => call?.hangUp());
$("mute").addEventListener("click", ({ currentTarget }) => {
  const muted = currentTarget.getAttribute("aria-pressed") !== "true";
  currentTarget.setAttribute("aria-pressed", String(muted));
  call?.mute(muted);
});
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("text").value.trim()) call?.say($("text").value.trim());
  $("text").value = "";
});
$("keypad").append(...[...KEYS].map((key) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = key;
  button.addEventListener("click", () => call?.press(key));
  return button;
}));
addEventListener("pagehide", () => call?.release());
begin();
