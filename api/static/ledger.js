// What pages do beyond reading and filtering: the viewer's time zone, tips, popovers, copying, progress.
// Everything here is an addition: without it every page reads and filters all the same.
"use strict";
(() => {
  const root = document.documentElement;
  const each = (scope, selector, act) => scope.querySelectorAll(selector).forEach(act);

  // Time zone: told to the server in a cookie; what this page already holds is turned into it here.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const isKnown = root.dataset.zone === zone;
  if (!isKnown) document.cookie = `ledger_zone=${zone};path=/;max-age=31536000;samesite=strict` + (location.protocol === "https:" ? ";secure" : "");
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  function localise(scope) {
    if (isKnown) return;
    each(scope, "time[datetime]", (time) => {
      const moment = new Date(time.dateTime);
      if (!isNaN(moment) && moment.getUTCFullYear() > 999) time.textContent = clock.format(moment);
    });
    each(document, "[data-zone-name]", (name) => { name.textContent = zone; });
  }

  // Popovers and tips stand beside what they belong to. Pointing at it opens them too; Escape closes.
  function place(floating, beside) {
    floating.classList.add("placed");
    const at = beside.getBoundingClientRect(), own = floating.getBoundingClientRect();
    const below = at.bottom + 6 + own.height < innerHeight;
    floating.style.left = `${Math.max(6, Math.min(at.left, innerWidth - own.width - 6))}px`;
    floating.style.top = `${Math.max(6, below ? at.bottom + 6 : at.top - own.height - 6)}px`;
  }
  let closing = 0;
  function popoverOf(button) { return document.getElementById(button.getAttribute("popovertarget")); }
  document.addEventListener("toggle", (event) => {
    if (event.newState !== "open" || !event.target.matches(".popover")) return;
    const button = document.querySelector(`[popovertarget="${event.target.id}"]`);
    if (button) place(event.target, button);
  }, true);
  document.addEventListener("pointerover", (event) => {
    const button = event.target.closest?.("[data-hover]"), popover = event.target.closest?.(".popover");
    if (button || popover) clearTimeout(closing);
    if (button && event.pointerType === "mouse" && !popoverOf(button).matches(":popover-open")) popoverOf(button).showPopover();
  });
  document.addEventListener("pointerout", (event) => {
    const open = event.target.closest?.("[data-hover], .popover");
    if (open && event.pointerType === "mouse") closing = setTimeout(() => each(document, ".popover:popover-open", (one) => { if (!one.contains(document.activeElement)) one.hidePopover(); }), 300);
  });
  document.addEventListener("focusin", (event) => {
    const button = event.target;
    if (button.matches?.("[data-hover]:focus-visible") && !popoverOf(button).matches(":popover-open")) popoverOf(button).showPopover();
  });

  const tip = document.getElementById("tip");
  function showTip(element, text) { tip.textContent = text; if (!tip.matches(":popover-open")) tip.showPopover(); place(tip, element); }
  function hideTip() { if (tip.matches(":popover-open")) tip.hidePopover(); }
  function tipOf(event) { return event.target.closest?.("time[data-utc], .run-id"); }
  function utcOf(element) {  // a time's own; of a row of runs, whose times are no stops of the Tab key: all of them
    if (element.matches("time")) return element.dataset.utc;
    return [...element.closest("tr").querySelectorAll("time[data-utc]")].map((time) => time.dataset.utc).join(" to ");
  }
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => {
    const element = tipOf(event), text = element && (element.matches("time") || event.type === "focusin") && utcOf(element);
    if (text) showTip(element, text);
  });
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, (event) => { if (tipOf(event)) hideTip(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hideTip(); each(document, "details.menu[open]", (menu) => { menu.open = false; menu.querySelector("summary").focus(); }); } });
  document.addEventListener("click", (event) => each(document, "details.menu[open]", (menu) => { if (!menu.contains(event.target)) menu.open = false; }));

  // Copying
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); } catch { return showTip(button, "Your browser does not let pages copy"); }
    showTip(button, "Copied");
    setTimeout(hideTip, 1200);
  });

  // A switch or a choice of the page size acts at once.
  document.addEventListener("change", (event) => { if (event.target.matches?.("[data-submit]")) event.target.form.requestSubmit(); });

  // Progress: what runs asks for itself anew, until it has ended; not while the page is hidden.
  const EVERY_MS = 2000;
  const asking = new WeakSet();
  async function poll(element) {
    if (asking.has(element)) return;
    asking.add(element);
    try {
      const answer = await fetch(element.dataset.poll, { headers: { "Ledger-Poll": "1" } });
      if (!answer.ok || answer.redirected) return;
      const holder = document.createElement("template");
      holder.innerHTML = (await answer.text()).trim();
      const fresh = holder.content.firstElementChild;
      if (!fresh || !element.isConnected) return;
      if (fresh.dataset.go) { location.assign(fresh.dataset.go); return; }
      const stops = [...element.querySelectorAll("a, button, summary, input")], at = stops.indexOf(document.activeElement);
      if (element.querySelector(":popover-open, details[open]")) return;
      prepare(fresh);
      element.replaceWith(fresh);
      if (at >= 0) fresh.querySelectorAll("a, button, summary, input")[at]?.focus();
    } catch { /* the next time */ } finally { asking.delete(element); }
  }
  setInterval(() => { if (!document.hidden) each(document, "[data-poll]", poll); }, EVERY_MS);

  function prepare(scope) {
    each(scope, "time[title]", (time) => { time.dataset.utc = time.title; time.removeAttribute("title"); });
    each(scope, ".copy", (button) => { button.hidden = false; });
    localise(scope);
  }
  prepare(document);
  document.addEventListener("htmx:after:swap", () => prepare(document));
})();
