// The CRM card: people and language, the SMS dialog, the timeline, the application's slider, the fault panel.
import { AppFrame, post } from "./frame.js";

const portal = Number(document.body.dataset.portal);
const $ = (id) => document.getElementById(id);
const state = { users: [], senders: [], phase: "absent" };

// Whatever the application's frame said to us, for people and tests.
window.seen = [];

const frame = new AppFrame($("holder"), {
  seen(call) {
    $("seen-count").textContent = window.seen.length;
    const row = document.createElement("li");
    const params = call.params ? JSON.stringify(call.params) : "";
    row.textContent = `${call.method ?? "?"} ${params.length > 160 ? `${params.slice(0, 160)}…` : params}`;
    $("seen").prepend(row);
  },
  setTitle: (title) => ($("app-title").textContent = title || "Application"),
  notice: toast,
  users: () => state.users,
  reopen: () => openApp(),
  hide: hideApp,
  openPath(path) {
    $("path-text").textContent = path;
    $("path-dialog").showModal();
    return new Promise((resolve) => $("path-dialog").addEventListener("close", resolve, { once: true }));
  },
});
window.appFrame = frame;

// The application

async function openApp() {
  $("slider").hidden = false;
  $("show-app").setAttribute("aria-expanded", "true");
  document.body.classList.add("with-slider");
  $("app-title").textContent = state.app ?? "Application";
  const user = Number($("user").value);
  if (state.phase === "absent") {
    const answer = await post("/_portal/install", { portal, user });
    if (answer.error) return block(answer.error);
  }
  const opening = await frame.open(portal, user, $("lang").value);
  block(opening.blocked);
  refresh();
}

function block(reason) {
  $("blocked").hidden = !reason;
  $("blocked").textContent = reason ?? "";
}

function hideApp() {
  frame.close();
  $("slider").hidden = true;
  $("show-app").setAttribute("aria-expanded", "false");
  document.body.classList.remove("with-slider");
}

// The card

async function refresh() {
  if (document.hidden) return;
  const lang = $("lang").value;
  const response = await fetch(`/_portal/state?portal=${portal}&lang=${encodeURIComponent(lang)}`);
  if (!response.ok) return;
  Object.assign(state, await response.json());
  fillUsers();
  showPhase();
  fillList($("senders"), state.senders.map(({ label, code }) => [label, code]), "None registered yet.");
  fillOptions($("sms-sender"), state.senders.map(({ code, label }) => [code, label]));
  showTimeline();
  showFaults();
}

function fillUsers() {
  const rows = state.users.map((user) => [user.id, `${user.name} ${user.last_name} (${user.role})`]);
  const first = !$("user").options.length;
  fillOptions($("user"), rows);
  fillOptions($("role-user"), rows);
  if (!first) return;
  $("lang").value = userLanguage();
  $("user").disabled = $("lang").disabled = false;
}

function userLanguage() {
  return state.users.find(({ id }) => id === Number($("user").value))?.lang ?? "en";
}

function fillOptions(select, rows) {
  const key = JSON.stringify(rows);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const chosen = select.value;
  select.replaceChildren(...rows.map(([value, text]) => new Option(text, value)));
  if (rows.some(([value]) => String(value) === chosen)) select.value = chosen;
}

function fillList(list, rows, nothing) {
  list.replaceChildren(
    ...(rows.length ? rows : [[nothing, ""]]).map(([text, small]) => {
      const row = document.createElement("li");
      row.append(text, " ", element("small", small));
      return row;
    }),
  );
}

function showPhase() {
  const words = {
    absent: state.app ? `${state.app} is not installed.` : "No application is registered with the sandbox.",
    install: `${state.app} waits for its installer to finish.`,
    app: `${state.app} is installed.`,
  };
  $("app-state").textContent = words[state.phase] + (state.paid ? "" : " Its paid period is over.");
  $("show-app").textContent = state.phase === "absent" ? "Install application" : "Open application";
  $("show-app").disabled = !state.app;
  $("message-count").textContent = state.message_count || "";
}

function showTimeline() {
  const key = JSON.stringify(state.messages);
  const list = $("timeline");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.dataset.id));
  list.replaceChildren(...state.messages.map((message) => timelineRow(message, open.has(String(message.id)))));
  if (!state.messages.length) list.append(element("li", "No messages yet.", "hint"));
}

function timelineRow(message, open) {
  const row = document.createElement("li");
  row.dataset.messageId = message.message_id;
  row.dataset.status = message.status;
  const head = element("p", "", "row");
  const to = element("bdi", message.to);
  to.dir = "ltr";
  head.append(element("strong", "SMS"), " to ", to, element("span", message.status_text, `tag ${tone(message.status)}`));
  const details = document.createElement("details");
  details.dataset.id = message.id;
  details.open = open;
  details.append(element("summary", `${message.author_name}, ${clock(message.created_at)}`));
  for (const { at, status, by } of message.history) {
    details.append(element("p", `${clock(at)} ${status} (${by === "app" ? "the application" : "portal"})`, "hint"));
  }
  for (const { at, status, seconds } of message.posts) {
    const answer = status ? `answered ${status} in ${Math.round(seconds * 1000)} ms` : "not answered";
    details.append(element("p", `${clock(at)} handler call, ${answer}`, "hint"));
  }
  if (message.error) details.append(element("p", message.error, "warn"));
  const text = element("p", message.text, "bubble");
  text.dir = "auto";
  row.append(head, text, details);
  return row;
}

const tone = (status) =>
  ({ delivered: "good", undelivered: "bad", failed: "bad", error: "bad", sent: "sent" })[status] ?? "wait";

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The SMS dialog

const GSM =
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿" +
  "abcdefghijklmnopqrstuvwxyzäöñüà";
const GSM_TWICE = "^{}\\[~]|€\f";

function segments(text) {
  const isGsm = [...text].every((sign) => GSM.includes(sign) || GSM_TWICE.includes(sign));
  const length = isGsm ? [...text].reduce((sum, sign) => sum + (GSM_TWICE.includes(sign) ? 2 : 1), 0) : text.length;
  const [single, part] = isGsm ? [160, 153] : [70, 67];
  return { length, parts: length <= single ? 1 : Math.ceil(length / part), encoding: isGsm ? "GSM-7" : "UCS-2" };
}

function showCount() {
  const { length, parts, encoding } = segments($("sms-text").value);
  $("sms-count").textContent = `${length} characters, ${parts} ${parts === 1 ? "part" : "parts"}, ${encoding}`;
}

function showSms(phone) {
  $("sms-to").value = phone ?? ($("sms-to").value || document.querySelector("[data-phone]").dataset.phone);
  $("sms-error").textContent = state.senders.length ? "" : "No sender is registered: install the application first.";
  showCount();
  $("sms-dialog").showModal();
}

async function sendSms(event) {
  if (event.submitter?.value !== "send") return;
  event.preventDefault();
  const fields = Object.fromEntries(new FormData($("sms-form")));
  const author = { card: Number($("user").value), robot: Number($("user").value) }[fields.origin];
  const body = author ? { portal, author, ...fields } : { portal, ...fields };
  const answer = await post("/sandbox/messages", body);
  if (answer.detail) {
    $("sms-error").textContent = answer.detail;
    return;
  }
  $("sms-dialog").close();
  refresh();
}

// Faults

function showFaults() {
  const { queue, races, auth } = state;
  const rows = state.faults.map((fault) => {
    const left = fault.count === null ? "until cleared" : `${fault.count} left`;
    return [`${fault.side ?? "rest"} ${fault.method}: ${fault.error || fault.kind}`, left];
  });
  if (queue.duplicate || queue.drop || queue.reorder_s || queue.delay_s[1] || queue.paused) {
    rows.push(["event queue", JSON.stringify(queue)]);
  }
  if (auth.lost_every) rows.push(["token answers", `every ${auth.lost_every}. is lost`]);
  if (auth.rotation !== "strict") rows.push(["rotation", auth.rotation]);
  if (!races.enabled) rows.push(["start-up races", "off"]);
  if (!state.rest_allowed) rows.push(["plan", "without REST"]);
  if (state.clock_offset_s) rows.push(["clock", `${Math.round(state.clock_offset_s / 360) / 10} h ahead`]);
  fillList($("rules"), rows, "All is well.");
  $("faults-now").hidden = !rows.length;
  $("faults-now").textContent = rows.length ? `On purpose: ${rows.map(([text]) => text).join(", ")}` : "";
}

function formFields(form) {
  const fields = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    const isNumber = field.type === "number" || field.name === "id";
    fields[field.name] =
      field.dataset.type === "bool" ? field.value === "true" : isNumber ? Number(field.value) : field.value;
  }
  if (fields.kind && fields.kind !== "error") delete fields.error;
  if (form.dataset.path === "/sandbox/queue") fields.delay_s = [0, fields.delay_s];
  return form.dataset.nest ? { [form.dataset.nest]: fields } : fields;
}

async function command(path, fields, everywhere) {
  const target = path === "/sandbox/clock" || path === "/sandbox/auth" ? {} : { portal: everywhere ? "*" : portal };
  const answer = await post(path, { ...target, ...fields });
  toast(answer.detail ?? "Done.");
  refresh();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => ($("toast").hidden = true), 2500);
}

// Wiring

$("show-app").addEventListener("click", openApp);
$("reload-app").addEventListener("click", openApp);
$("hide-app").addEventListener("click", hideApp);
$("show-sms").addEventListener("click", () => showSms());
for (const button of document.querySelectorAll("[data-phone]")) {
  button.addEventListener("click", () => showSms(button.dataset.phone));
}
$("sms-text").addEventListener("input", showCount);
$("sms-form").addEventListener("submit", sendSms);
$("user").addEventListener("change", () => {
  $("lang").value = userLanguage();
  if (frame.element) openApp();
});
$("lang").addEventListener("change", () => (frame.element ? openApp() : refresh()));
$("show-faults").addEventListener("click", () => $("faults").showModal());
$("hide-faults").addEventListener("click", () => $("faults").close());
$("all-well").addEventListener("click", async () => {
  await fetch("/sandbox/faults", { method: "DELETE" });
  await command("/sandbox/portal", { rest_allowed: true, races: { enabled: true } });
  await command("/sandbox/clock", { reset: true });
});
for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    command(form.dataset.path, formFields(form), "all" in form.dataset);
  });
}
for (const button of document.querySelectorAll("[data-post]")) {
  button.addEventListener("click", () => command(button.dataset.post, JSON.parse(button.dataset.body)));
}
$("frame-mode").addEventListener("change", ({ target }) => {
  frame[target.name] = target.type === "checkbox" ? target.checked : target.value;
});
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.classList.toggle("dark");
  document.documentElement.classList.toggle("light", !dark);
  $("theme").setAttribute("aria-pressed", String(dark));
});

await refresh();
setInterval(refresh, 1000);
if (new URLSearchParams(location.search).has("open")) openApp();
