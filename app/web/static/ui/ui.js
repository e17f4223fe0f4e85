// What the browser must do itself: carry the session's token, renew it through the portal, keep the frame's
// size, title and focus right. Texts for people are in the page.
(() => {
  "use strict";

  const ANSWER_MS = 8000; // the portal may never answer, and nothing here may depend on it
  const LEAST_HEIGHT = 480;

  const meta = document.querySelector('meta[name="s"]');
  let token = meta ? meta.content : "";
  if (meta) meta.remove();

  const find = (selector) => document.querySelector(selector);
  const show = (selector, shown) => {
    const element = find(selector);
    if (element) element.hidden = !shown;
  };
  const ignore = () => {};

  function within(promise) {
    return Promise.race([
      promise,
      new Promise((_, reject) => setTimeout(reject, ANSWER_MS, new Error("no answer"))),
    ]);
  }

  // --- the portal around us; rejected outside of one

  const loaded = new Promise((resolve) => {
    if (document.readyState === "complete") resolve();
    else addEventListener("load", resolve, { once: true });
  });
  const portal = loaded.then(() => {
    if (!window.B24Js || parent === window || !window.name) throw new Error("not in a portal");
    return within(window.B24Js.initializeB24Frame());
  });
  portal.catch(ignore);

  let told = 0;
  function fit() {
    const wrap = find(".wrap");
    portal
      .then((b24) => {
        const height = Math.max(Math.ceil(wrap.getBoundingClientRect().height), LEAST_HEIGHT);
        if (height === told) return;
        told = height;
        return b24.parent.message.send("resizeWindow", { width: "100%", height, isSafely: true });
      })
      .catch(ignore);
  }
  new ResizeObserver(fit).observe(find(".wrap"));

  function title() {
    const heading = find("#title");
    if (!heading) return;
    document.title = heading.textContent.trim();
    portal.then((b24) => b24.parent.setTitle(document.title)).catch(ignore);
  }
  title();

  // The settings may have changed what the whole document looks like; the answer brings only its page.
  function look() {
    const chosen = find("#main [data-theme]");
    if (!chosen) return;
    const { lang, dir, dataset } = chosen;
    Object.assign(document.documentElement, { lang, dir, className: dataset.theme });
  }

  // --- the session

  let renewal = null;
  function renew() {
    renewal ??= askAnew().finally(() => (renewal = null));
    return renewal;
  }

  async function askAnew() {
    const b24 = await portal;
    const fresh = await within(b24.auth.refreshAuth());
    const body = new URLSearchParams({
      member_id: fresh.member_id,
      AUTH_ID: fresh.access_token,
      REFRESH_ID: fresh.refresh_token,
      AUTH_EXPIRES: "3600",
    });
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await within(fetch("/ui/session", { method: "POST", headers, body, credentials: "omit" }));
    if (!answer.ok) throw new Error(`renewal: ${answer.status}`);
    token = (await answer.json()).token;
  }

  // --- htmx

  const htmx = window.htmx;
  if (!htmx) return show("#incomplete", true); // a script did not arrive: nothing here would work
  Object.assign(htmx.config, {
    allowEval: false,
    allowScriptTags: false,
    includeIndicatorStyles: false,
    historyEnabled: false,
    selfRequestsOnly: true,
    scrollIntoViewOnBoost: false,
    timeout: 45000,
    responseHandling: [
      { code: "(204|401)", swap: false },
      { code: "[23]..", swap: true },
      { code: "(404|409|422|502)", swap: true },
      { code: "...", swap: false, error: true },
    ],
  });

  const on = (name, act) => document.addEventListener(`htmx:${name}`, act);
  const repeated = new WeakSet(); // elements whose request was repeated once with a new token

  on("configRequest", ({ detail }) => {
    detail.headers.Authorization = `Bearer ${token}`;
    if (belongsBeside(detail.elt)) detail.headers["X-Beside"] = "1";
  });
  on("beforeRequest", (event) => {
    const { target } = event;
    if (target.hasAttribute("data-poll")) {
      if (document.hidden) event.preventDefault();
      return;
    }
    taken(true);
    forget();
  });
  on("afterRequest", ({ target }) => target.hasAttribute("data-poll") || taken(false));

  // Shows at once that a click was taken; a page that takes long says so to a screen reader as well.
  const taken = (is) => find("#main").toggleAttribute("aria-busy", is);

  // What an earlier request ended with is no news any more.
  function forget() {
    for (const note of document.querySelectorAll("#main .note[data-focus]")) note.remove();
    for (const trouble of ["#ended", "#broken"]) {
      show(trouble, false);
      find("#main").before(find(trouble)); // a new page takes everything inside of it away
    }
  }

  // Where the person is: beside what they clicked. The frame is as high as its page, so its top may be far away.
  function complain(selector, source) {
    const trouble = find(selector);
    const place = source && source.isConnected && source.closest("form, nav, .card, .note");
    if (place) place.before(trouble);
    else find("#main").before(trouble);
    trouble.hidden = false;
    trouble.focus({ preventScroll: true });
    trouble.scrollIntoView({ block: "nearest" });
  }
  on("beforeSwap", ({ detail }) => {
    const { xhr, requestConfig } = detail;
    const { elt, verb, path, target } = requestConfig;
    if (xhr.status === 401) {
      if (repeated.has(elt)) return complain("#ended", elt);
      repeated.add(elt);
      taken(true); // the portal may take its time to answer
      return renew()
        .then(
          () => htmx.ajax(verb, path, { source: elt, target }),
          () => complain("#ended", elt),
        )
        .finally(() => taken(false));
    }
    repeated.delete(elt);
    if (xhr.getResponseHeader("X-Beside")) detail.target = find("#beside") ?? target;
    if (detail.isError) complain("#broken", elt);
  });
  for (const failure of ["sendError", "timeout"]) on(failure, ({ target }) => complain("#broken", target));

  const wantsFocus = (place, heading) =>
    find(`${place} [data-focus]`) || find(`${place} [aria-invalid=true]`) || find(heading);

  on("afterSwap", ({ detail }) => {
    const { target, pathInfo, requestConfig } = detail;
    remember(target.id, pathInfo.finalRequestPath, requestConfig);
    if (target.id === "beside") return showBeside();
    if (target.id !== "main") return;
    look();
    title();
    find("nav.tabs a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // they are in one line
    const place = pathInfo.anchor && document.getElementById(pathInfo.anchor); // a link to one setting
    const wanted = place || wantsFocus("#main", "#title");
    if (wanted) wanted.focus({ preventScroll: true });
    const top = place ? Math.max(0, place.getBoundingClientRect().top + scrollY - 120) : 0;
    scrollTo(0, top);
    portal.then((b24) => b24.parent.scrollParentWindow(top)).catch(ignore);
  });

  // --- a row opens beside its list where there is room for both, else as a page. The server answers with a part
  // for there when it is asked to; all other answers are pages.

  const wide = matchMedia("(min-width: 900px)");
  const isOpen = () => find("#beside:not([hidden])");
  const belongsBeside = (link) =>
    link.closest("#beside") || (wide.matches && link.closest("[data-beside]") && find("#beside"));

  function showBeside() {
    const row = markOpen();
    const beside = find("#beside");
    beside.hidden = false;
    // The frame is as high as its page: at the row, or it may be far away from who clicked.
    if (row) {
      const down = row.getBoundingClientRect().top - beside.parentElement.getBoundingClientRect().top;
      beside.style.marginBlockStart = `${Math.max(0, down - 60)}px`;
    }
    wantsFocus("#beside", "#beside-title")?.focus();
  }

  function markOpen() {
    const number = now.beside && /\/messages\/(\d+)/.exec(now.beside)?.[1];
    for (const row of document.querySelectorAll("tr[data-row]"))
      if (row.dataset.row === number) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    return number && find(`tr[data-row="${number}"]`);
  }

  function hideBeside() {
    const row = markOpen();
    const beside = find("#beside");
    if (!beside) return;
    beside.hidden = true;
    beside.replaceChildren();
    now.beside = null;
    markOpen();
    row?.querySelector("a")?.focus();
  }

  document.addEventListener("keydown", ({ key }) => key === "Escape" && isOpen() && history.back());

  // --- back: the frame's address never changes, so each entry of its history says itself what was shown

  let now = { page: find("nav.tabs a[aria-current]")?.getAttribute("href") ?? null, beside: null };
  history.replaceState(now, "");

  function remember(place, path, { verb, headers }) {
    if (verb !== "get" || headers["X-Travel"]) return;
    const before = now;
    if (place === "main") now = { page: path, beside: null };
    else if (place === "log") now = { ...now, page: path };
    else if (place === "beside") now = { ...now, beside: path };
    else return;
    const isSame = place === "log" || !before.page || (place === "beside" && before.beside);
    if (isSame || before.page === path) history.replaceState(now, "");
    else history.pushState(now, "");
  }

  addEventListener("popstate", ({ state }) => {
    if (!state?.page) return;
    const before = now;
    now = state;
    const go = (path, more) => htmx.ajax("GET", path, { target: "#main", headers: { "X-Travel": "1", ...more } });
    if (state.page !== before.page) {
      now = { page: state.page, beside: null };
      go(state.page);
    } else if (state.beside) go(state.beside, { "X-Beside": "1" });
    else {
      now = before;
      hideBeside();
    }
  });

  // --- unsaved changes: `data-guard` marks a form that asks before what was typed into it is lost

  const asRead = new WeakMap();
  const typed = (form) => new URLSearchParams(new FormData(form)).toString();

  function guard() {
    for (const form of document.querySelectorAll("[data-guard]"))
      if (!asRead.has(form)) asRead.set(form, form.dataset.guard ? null : typed(form));
  }
  const unsaved = () =>
    [...document.querySelectorAll("[data-guard]")].find((form) => asRead.has(form) && asRead.get(form) !== typed(form));

  document.addEventListener("input", () => show("[data-unsaved]", Boolean(unsaved())));
  addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());

  let leave = null; // goes on with what was asked for
  on("confirm", (event) => {
    const { elt, target, issueRequest } = event.detail;
    const form = target?.id === "main" && unsaved();
    if (!form || form === elt) return;
    event.preventDefault();
    leave = () => {
      asRead.set(form, typed(form));
      issueRequest(true);
    };
    complain("#leaving", elt);
  });
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-stay], [data-leave]");
    if (!button) return;
    show("#leaving", false);
    if ("leave" in button.dataset) leave();
    else unsaved()?.querySelector("[type=submit]").focus();
  });

  // --- parts that live: `data-live` is the address of the page that a part comes from. It is asked again every few
  // seconds and replaced when it differs; not while nobody looks, nor while somebody is busy in it.

  const LIVE_MS = 4000;
  const LONGEST_MS = 60000;
  const asWas = new WeakMap();

  function live() {
    for (const part of document.querySelectorAll("[data-live]")) {
      if (asWas.has(part)) continue;
      asWas.set(part, part.innerHTML);
      later(part, paceOf(part));
    }
  }
  const paceOf = (part) => Number(part.dataset.pace) || LIVE_MS; // where somebody waits for the end of it
  const later = (part, pause) => setTimeout(() => part.isConnected && lookAgain(part, pause), pause);

  const isBusyIn = (part) =>
    document.hidden ||
    part.contains(find("#ended:not([hidden])") ?? find("#broken:not([hidden])")) ||
    part.querySelector("input:checked, details[open], [aria-busy]") ||
    (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) ||
    (!getSelection().isCollapsed && part.contains(getSelection().anchorNode));

  async function lookAgain(part, pause) {
    if (isBusyIn(part)) return later(part, paceOf(part));
    let next = paceOf(part);
    try {
      const headers = { Authorization: `Bearer ${token}`, "HX-Request": "true" };
      const answer = await fetch(part.dataset.live, { headers, signal: AbortSignal.timeout(15000) });
      if (answer.status === 401) await renew();
      else if (!answer.ok) throw new Error(`live: ${answer.status}`);
      else if (!isBusyIn(part)) replace(part, await answer.text());
    } catch {
      next = Math.min(pause * 2, LONGEST_MS); // a busy server is asked less
    }
    later(part, next);
  }

  function replace(part, page) {
    const parsed = document.createElement("template");
    parsed.innerHTML = page;
    const fresh = parsed.content.getElementById(part.id);
    if (!fresh || !part.isConnected || fresh.innerHTML === asWas.get(part)) return;
    asWas.set(fresh, fresh.innerHTML);
    mark(part, fresh);
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.replaceWith(fresh);
    for (const beside of document.querySelectorAll(`[data-with="${part.id}"]`))
      beside.replaceWith(parsed.content.getElementById(beside.id) ?? "");
    htmx.process(fresh);
    markOpen();
    if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    say(fresh);
    if ("live" in fresh.dataset) later(fresh, paceOf(fresh));
    else end(fresh);
    title();
  }

  // A screen reader hears what changes in an element that stays; it is told the coarse steps alone.
  function say(part) {
    const voice = find(`[data-voice="${part.id}"]`);
    if (voice && voice.textContent !== part.dataset.say) voice.textContent = part.dataset.say;
  }

  // What there was only while it went on, a button to stop it, goes with it; its focus goes to what came of it.
  function end(part) {
    for (const beside of document.querySelectorAll(`[data-while="${part.id}"]`)) {
      if (beside.contains(document.activeElement)) part.focus({ preventScroll: true });
      beside.remove();
    }
  }

  // What changed is marked for a moment.
  function mark(old, fresh) {
    const before = new Map([...old.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row.textContent]));
    for (const row of fresh.querySelectorAll("[data-row]"))
      if (before.get(row.dataset.row) !== row.textContent) row.classList.add("changed");
  }
  on("afterSettle", live);
  on("afterSettle", guard);
  live();
  guard();
  htmx.process(document.body); // now: htmx itself waits until every script has arrived

  // --- rows to choose: one by one, with Shift from the last one to this, or the whole page

  let lastBox = null;
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
    const rows = [...document.querySelectorAll('input[name="row"]')];
    if ("pickAll" in box.dataset) for (const row of rows) row.checked = box.checked;
    else if (box.name === "row") {
      const [from, to] = [rows.indexOf(lastBox), rows.indexOf(box)].sort((a, b) => a - b);
      if (event.shiftKey && from >= 0) for (const row of rows.slice(from, to + 1)) row.checked = box.checked;
      lastBox = box;
    } else return;
    const picked = rows.filter((row) => row.checked).length;
    const whole = find("[data-pick-all]");
    whole.checked = picked > 0 && picked === rows.length;
    whole.indeterminate = picked > 0 && picked < rows.length;
    find("[data-picked]").textContent = picked;
  });

  // --- links to the portal's pages, in its slider; a link like any other while there is no portal around us

  let around = null;
  portal.then((b24) => (around = b24)).catch(ignore);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-portal]");
    if (!link || !around || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    // It answers when the person has closed the slider, so there is no time to give it.
    around.slider.openPath(link.href).catch(() => open(link.href, "_blank", "noopener"));
  });

  // --- downloads: a link cannot carry the token, so the file is fetched first

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-download]");
    if (!link) return;
    event.preventDefault();
    if (link.getAttribute("aria-busy") === "true") return;
    link.setAttribute("aria-busy", "true");
    download(link)
      .catch(() => show("#broken", true))
      .finally(() => link.removeAttribute("aria-busy"));
  });

  async function download(link) {
    const problem = document.getElementById(link.dataset.download);
    problem.replaceChildren();
    const get = () => fetch(link.href, { headers: { Authorization: `Bearer ${token}`, "HX-Request": "true" } });
    let answer = await get();
    if (answer.status === 401) {
      if (!(await renew().then(() => true, () => false))) return show("#ended", true);
      answer = await get();
    }
    if (answer.status === 422) {
      problem.innerHTML = await answer.text();
      return;
    }
    if (!answer.ok) throw new Error(`download: ${answer.status}`);
    const address = URL.createObjectURL(await answer.blob());
    Object.assign(document.createElement("a"), { href: address, download: link.download }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  // --- buttons

  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy], [data-print], [data-reload], [data-close]");
    if (!button) return;
    if ("close" in button.dataset) history.back();
    else if (button.dataset.copy) copy(button.dataset.copy);
    else if ("print" in button.dataset) print();
    else portal.then((b24) => within(b24.parent.reloadWindow())).catch(() => location.reload());
  });

  function copy(id) {
    const field = document.getElementById(id);
    field.select(); // the clipboard itself is closed to frames
    show(`[data-copied="${id}"]`, document.execCommand("copy"));
  }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("#main details")) details.open = true;
  });

  // --- lists of which one link is in the order of the Tab key; the arrows go from one to the next

  document.addEventListener("keydown", (event) => {
    const list = event.target.closest("[data-roving]");
    const links = list && [...list.querySelectorAll("a")];
    const here = links ? links.indexOf(event.target) : -1;
    if (here < 0) return;
    const places = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: links.length - 1 };
    const next = links[places[event.key]];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // --- the end of the installation: only after the server has done its part, which is why this page is here

  function finish(page) {
    const failed = () => {
      find("[data-finishing]").hidden = true;
      show("[data-finish-failed]", true);
    };
    portal
      .then((b24) =>
        b24.isInstallMode
          ? within(b24.installFinish())
          : htmx.ajax("GET", page.dataset.next, { target: "#main", swap: "innerHTML" }),
      )
      .catch(failed);
  }
  const lookForFinish = () => {
    const page = find("[data-finish]:not([data-finish=begun])");
    if (!page) return;
    page.dataset.finish = "begun";
    finish(page);
  };
  on("afterSwap", lookForFinish);
  lookForFinish();
})();
