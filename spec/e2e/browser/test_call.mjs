// Uses the test-call page as a person would, in Debian's Chromium, with a WAV file for a microphone:
//   node test_call.mjs --url http://127.0.0.1:8080/ [--bot demo] [--wav speech.wav]
//        [--say TEXT] [--seconds 20] [--screenshot FILE] [--deny-microphone]
// Signs in with CXB_ADMIN_EMAIL and CXB_ADMIN_PASSWORD; with a setup link for --url, sets up first.
// Prints one JSON object about what the page showed. The call ends when the bot hangs up, or is hung
// up once the bot has answered (a turn after the last input) or after --seconds.
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" }, bot: { type: "string", default: "demo" }, wav: { type: "string" },
    say: { type: "string" }, seconds: { type: "string", default: "20" },
    screenshot: { type: "string" }, "deny-microphone": { type: "boolean", default: false },
  },
});

const args = [
  "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream", "--mute-audio",
];
if (!options["deny-microphone"]) args.push("--use-fake-ui-for-media-stream");
// %noloop: the file is spoken once, then the microphone is silent.
if (options.wav) args.push(`--use-file-for-fake-audio-capture=${options.wav}%noloop`);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args,
  chromiumSandbox: process.getuid() !== 0,
});
const problems = [];
const report = { problems };
try {
  const context = await browser.newContext({ viewport: { width: 900, height: 1100 } });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  try {
    await run(page);
  } finally {
    if (options.screenshot) await page.screenshot({ path: options.screenshot, fullPage: true });
  }
} catch (error) {
  report.failure = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));
process.exit(report.failure ? 1 : 0);

function lines(page, list) {
  return page.locator(`${list} li:not(.event)`).evaluateAll((items) => items.map((item) => ({
    role: item.className.replace(" interim", ""),
    text: item.lastElementChild.textContent,
  })));
}

function phase(page) { return page.locator("main").getAttribute("data-phase"); }

async function run(page) {
  await page.goto(options.url);
  await enter(page);
  report.token_in_address = page.url().includes("token");
  const call = page.getByRole("button", { name: "Test call" });
  await page.getByRole("combobox", { name: "Bot" }).selectOption(options.bot);
  await page.evaluate(watchLevels);
  await call.click();
  if (options["deny-microphone"]) {
    report.notice = await page.getByRole("alert").textContent({ timeout: 10000 });
    return;
  }
  await page.waitForFunction(() => document.querySelector("main").dataset.phase !== "connecting");
  report.phase = await phase(page);
  if (report.phase === "idle") {
    report.notice = await page.getByRole("alert").textContent();
    return;
  }
  await talk(page);
  await stored(page);
}

// Makes the administrator, or signs in as it.
async function enter(page) {
  const { CXB_ADMIN_EMAIL: email, CXB_ADMIN_PASSWORD: password } = process.env;
  const button = page.getByRole("button", { name: /^(Set up|Sign in)$/ });
  await button.waitFor();
  report.door = await button.textContent();
  const form = page.locator("form:visible").filter({ has: button });
  await form.getByLabel("Email").fill(email);
  await form.getByLabel("Password").fill(password);
  if (report.door === "Set up") await form.getByLabel("Name").fill("Ada");
  await button.click();
}

// The loudest the page ever showed of either side.
function watchLevels() {
  window.loudest = { in: 0, out: 0 };
  const look = () => {
    for (const side of ["in", "out"]) {
      const { value } = document.getElementById(`level-${side}`);
      window.loudest[side] = Math.max(window.loudest[side], value);
    }
    requestAnimationFrame(look);
  };
  look();
}

// Waits until the bot has answered what was said, then hangs up; or until the call ends by itself.
async function talk(page) {
  const until = Date.now() + Number(options.seconds) * 1000;
  if (options.say) {
    await page.waitForFunction(() => document.querySelector("#transcript .bot"));
    await page.getByRole("textbox", { name: "Say by typing" }).fill(options.say);
    await page.getByRole("button", { name: "Send" }).click();
  }
  await page.waitForFunction(([by]) => {
    const roles = [...document.querySelectorAll("#transcript li:not(.event)")]
      .map((item) => item.classList[0]);
    const answered = roles.indexOf("customer") >= 0 && roles.at(-1) === "bot"
      && document.getElementById("state").dataset.value === "listening";
    return answered || document.querySelector("main").dataset.phase !== "talking" || Date.now() > by;
  }, [until], { timeout: Number(options.seconds) * 1000 + 10000, polling: 100 });
  report.live = await lines(page, "#transcript");
  report.loudest = await page.evaluate(() => window.loudest);
  report.latency = await page.locator("#latency").textContent();
  if (await phase(page) === "talking") {
    await page.getByRole("button", { name: "Hang up" }).click();
  }
}

async function stored(page) {
  await page.waitForFunction(() => document.querySelector("main").dataset.phase === "kept", null,
    { timeout: 40000 });
  report.stored = await lines(page, "#kept");
  report.facts = await page.locator("#facts").innerText();
  if (!(await page.locator("#recording").isVisible())) return;
  report.recording = await page.locator("#audio").evaluate(async (audio) => {
    if (audio.readyState < 1) {
      await new Promise((resolve, reject) => {
        audio.onloadedmetadata = resolve;
        audio.onerror = () => reject(new Error(`audio: ${audio.error?.message}`));
      });
    }
    const bytes = await (await fetch(audio.src)).arrayBuffer();
    const decoded = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes);
    const loud = (channel) => decoded.getChannelData(channel).reduce(
      (most, value) => Math.max(most, Math.abs(value)), 0);
    audio.currentTime = Math.min(1, audio.duration / 2);
    await audio.play();
    await new Promise((resolve) => { audio.ontimeupdate = () => audio.currentTime > 0 && resolve(); });
    audio.pause();
    return {
      seconds: audio.duration, channels: decoded.numberOfChannels,
      left: loud(0), right: decoded.numberOfChannels > 1 ? loud(1) : 0, played: audio.currentTime,
    };
  });
}
