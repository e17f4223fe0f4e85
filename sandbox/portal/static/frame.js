// The page's half of the frame protocol: opens the application as the kernel does, answers its messages.
//
// In:  "method:PARAMS:callback:SID" (PARAMS is JSON and may be missing), or an object with
//      {method, params, callback, appSid} for method names that hold a colon.
// Out: "callback:JSON", to the application's origin.

// Where openPath may lead, tested on the path as given, before any ".." is resolved, as the kernel does.
const OPEN_PATHS =
  /^\/(crm\/(deal|lead|contact|company|type)|marketplace|company\/personal\/user\/\d+|workgroups\/group\/\d+)(\/|$)/i;

const DENIED = { result: "error", errorCode: "ACCESS_DENIED" };

export class AppFrame {
  // `page` gets what the application does to its surroundings: setTitle, notice, hide, openPath, pick.
  constructor(holder, page) {
    this.holder = holder;
    this.page = page;
    this.opening = null;
    this.element = null;
    this.helper = null;
    // normal | silent | deny | wrong-origin; `modeFor` overrules it for single methods.
    this.mode = "normal";
    this.modeFor = {};
    this.inSlider = false; // a slider denies resizeWindow without a word
    this.isMobile = false;
    addEventListener("message", (event) => this.receive(event));
  }

  async open(portal, user, lang) {
    this.close();
    const opening = await post("/_portal/frame", { portal, user, lang: lang || null });
    if (opening.blocked) return opening;
    this.opening = opening;
    this.element = document.createElement("iframe");
    this.element.id = "fr";
    this.element.name = opening.name;
    this.element.title = "Application";
    this.element.allow = opening.allow;
    this.holder.append(this.element);
    this.submit(opening);
    return opening;
  }

  close() {
    this.element?.remove();
    this.element = this.opening = null;
  }

  submit(opening) {
    const form = document.createElement("form");
    form.method = "post";
    form.action = opening.url;
    form.target = opening.name;
    form.hidden = true;
    for (const [name, value] of Object.entries(opening.fields)) {
      const field = document.createElement("input");
      Object.assign(field, { type: "hidden", name, value });
      form.append(field);
    }
    document.body.append(form);
    form.submit();
    form.remove();
  }

  async receive(event) {
    if (!this.element || event.source !== this.element.contentWindow) return;
    const call = parse(event.data);
    window.seen.push({ ...call, origin: event.origin, at: Date.now(), raw: event.data });
    this.page.seen(call);
    if (!call.method || call.sid !== this.opening.sid) return;
    const opening = this.opening;
    const mode = this.modeFor[call.method] ?? this.mode;
    if (mode === "silent") return;
    if (mode === "deny" && call.method !== "getInitData") return this.answer(call, DENIED, event.origin);
    const { answer } = await post(`/_portal/frame/${opening.sid}`, { method: call.method, params: call.params });
    if (opening !== this.opening) return; // closed or opened anew while we asked
    const result = await this.act(call, answer);
    if (result !== undefined && opening === this.opening) this.answer(call, result, event.origin, mode);
  }

  // What a call does, and its answer; undefined: none.
  async act(call, answer) {
    const params = call.params ?? {};
    switch (call.method) {
      case "getInitData":
        return answer;
      case "refreshAuth":
        return answer ?? undefined; // a failing renewal never answers
      case "setInstallFinish":
        if (!answer) return undefined; // not the installer page, or not an admin: without effect
        setTimeout(() => this.page.reopen(), 50);
        return true;
      case "setInstall":
      case "setAppOption":
      case "setUserOption":
        return answer ?? true;
      case "resizeWindow":
        return this.resize(params);
      case "setTitle":
        this.page.setTitle(String(params.title ?? ""));
        return true;
      case "setScroll":
        this.holder.scrollTo({ top: Number(params.scroll) || 0 });
        return true;
      case "reloadWindow":
        setTimeout(() => location.reload(), 50);
        return true;
      case "openPath":
        return this.openPath(String(params.path ?? ""));
      case "openApplication":
        this.page.notice("The application opened another slider of itself.");
        return true;
      case "closeApplication":
        setTimeout(() => this.page.hide(), 50);
        return true;
      case "getInterface":
        return { command: KNOWN, event: [] };
      case "placementBindEvent":
        return true;
      case "selectUser": {
        const users = this.page.users().map(({ id, name, last_name }) => ({ id, name: `${name} ${last_name}` }));
        return params.mult ? users : users[0];
      }
      case "selectAccess":
        return [];
      case "selectCRM":
        return { contact: [{ id: "C_123", title: "Erika Example", type: "contact" }] };
      case "imCallTo":
      case "imPhoneTo":
      case "imOpenMessenger":
      case "imOpenHistory":
      case "showAppForm":
        this.page.notice(`The application called ${call.method}.`);
        return true;
      default:
        return undefined;
    }
  }

  resize({ width, height }) {
    if (this.inSlider) return undefined;
    if (height) this.element.style.height = `${Math.max(200, Math.ceil(Number(height) || 0))}px`;
    if (typeof width === "number") this.element.style.minWidth = `min(100%, ${width}px)`;
    return { width: this.element.offsetWidth, height: this.element.offsetHeight };
  }

  async openPath(path) {
    if (this.isMobile) return { result: "error", errorCode: "METHOD_NOT_SUPPORTED_ON_DEVICE" };
    if (!OPEN_PATHS.test(path)) return { result: "error", errorCode: "PATH_NOT_AVAILABLE" };
    await this.page.openPath(new URL(path, location.origin).pathname);
    return { result: "close" };
  }

  answer(call, result, origin, mode = "normal") {
    if (!call.callback || !this.element) return;
    const text = `${call.callback}:${JSON.stringify(result)}`;
    if (mode === "wrong-origin") return this.answerFromElsewhere(text);
    this.element.contentWindow.postMessage(text, origin);
  }

  answerFromElsewhere(text) {
    const say = () => {
      const index = [...document.querySelectorAll("iframe")].indexOf(this.element);
      this.helper.contentWindow.postMessage({ index, text }, "*");
    };
    if (this.helper) return say();
    this.helper = document.createElement("iframe");
    this.helper.hidden = true;
    this.helper.src = `${document.body.dataset.helperOrigin}/_portal/helper`;
    this.helper.addEventListener("load", () => setTimeout(say, 50), { once: true });
    document.body.append(this.helper);
  }
}

const KNOWN = [
  "getInitData", "setInstallFinish", "setInstall", "refreshAuth", "setAppOption", "setUserOption", "resizeWindow",
  "reloadWindow", "setTitle", "setScroll", "openApplication", "closeApplication", "openPath", "imCallTo",
  "imPhoneTo", "imOpenMessenger", "imOpenHistory", "selectUser", "selectAccess", "selectCRM", "showAppForm",
  "getInterface", "placementBindEvent",
];

export function parse(data) {
  if (data && typeof data === "object") {
    return { method: data.method, params: data.params || null, callback: data.callback, sid: data.appSid };
  }
  const parts = String(data).split(":");
  if (parts.length < 2) return {};
  const method = parts.shift();
  const sid = parts.pop();
  const callback = parts.pop() ?? "";
  const text = parts.join(":"); // JSON is full of colons
  let params = null;
  if (text) {
    try {
      params = JSON.parse(text);
    } catch {
      params = text; // setValue sends its value as it is
    }
  }
  return { method, params, callback, sid };
}

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return response.json();
}
