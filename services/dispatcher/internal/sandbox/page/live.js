// Keeps the list fresh while the page is in sight and nobody has paused it.
const list = document.getElementById("mails");
const button = document.getElementById("live");
let last = list.innerHTML.trim();
let on = true;

async function refresh() {
  if (on && !document.hidden) {
    try {
      const answer = await fetch("/rows" + location.search);
      if (answer.ok) {
        const rows = (await answer.text()).trim();
        if (rows !== last && !list.contains(document.activeElement)) {
          list.innerHTML = rows;
          last = rows;
        }
      }
    } catch {
      // The server is away; the next round tries again.
    }
  }
  setTimeout(refresh, 1500);
}

button.hidden = false;
button.addEventListener("click", () => {
  on = !on;
  button.setAttribute("aria-pressed", String(on));
});
setTimeout(refresh, 1500);
