// Follows a running campaign: fetches the same page and puts its content into place, while somebody looks at it.
"use strict";
const SECONDS = 3;

async function follow() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    let again = page.querySelector("[data-live]") !== null; // asked now: its parts will be moved to this page
    for (const place of ["nav", "main", "footer"]) {
      const now = document.querySelector(place), next = page.querySelector(place);
      if (now.innerHTML === next.innerHTML) continue;
      if (now.contains(document.activeElement)) { // who is at a link by keyboard, or has opened something, stays there
        again = true;
        continue;
      }
      const across = [...now.querySelectorAll(".scroll")].map((table) => table.scrollLeft);
      now.replaceWith(next);
      next.querySelectorAll(".scroll").forEach((table, n) => { table.scrollLeft = across[n] ?? 0; });
    }
    if (!again) clearInterval(timer);
  } catch {
    document.querySelector("footer").textContent = "The server does not answer; trying again.";
  }
}
const timer = setInterval(follow, SECONDS * 1000);
