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
  });
  on("beforeRequest", (event) => {
    if (document.hidden && event.target.hasAttribute("data-poll")) event.preventDefault();
  });
  on("beforeSwap", ({ detail }) => {
    const { xhr, requestConfig } = detail;
    const { elt, verb, path, target } = requestConfig;
    if (xhr.status === 401) {
      if (repeated.has(elt)) return show("#ended", true);
      repeated.add(elt);
      return renew().then(
        () => htmx.ajax(verb, path, { source: elt, target }),
        () => show("#ended", true),
      );
    }
    repeated.delete(elt);
    show("#broken", detail.isError);
  });
  for (const failure of ["sendError", "timeout"]) on(failure, () => show("#broken", true));

  on("afterSwap", ({ detail }) => {
    if (detail.target.id !== "main") return;
    look();
    title();
    const wanted = find("#main [data-focus]") || find("#title");
    if (wanted) wanted.focus({ preventScroll: true });
    scrollTo(0, 0);
    portal.then((b24) => b24.parent.scrollParentWindow(0)).catch(ignore);
  });
  htmx.process(document.body); // now: htmx itself waits until every script has arrived

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
    const button = target.closest("[data-copy], [data-reload]");
    if (!button) return;
    if (button.dataset.copy) copy(button.dataset.copy);
    else portal.then((b24) => within(b24.parent.reloadWindow())).catch(() => location.reload());
  });

  function copy(id) {
    const field = document.getElementById(id);
    field.select(); // the clipboard itself is closed to frames
    show(`[data-copied="${id}"]`, document.execCommand("copy"));
  }

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
