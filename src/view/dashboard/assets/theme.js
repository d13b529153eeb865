// The colours: as the system has them, light, or dark. It runs before the page is drawn, so that nothing flashes.
(() => {
  const NAMES = ["system", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      const name = localStorage.getItem("distcomp-theme");
      return NAMES.includes(name) ? name : "system";
    } catch {
      return "system";
    }
  }

  function apply(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = { system: "◐", light: "○", dark: "●" }[name];
      button.setAttribute("aria-label", `Colours: ${name}`);
      button.title = `Colours: ${name}`;
    }
    document.dispatchEvent(new Event("themechange"));
  }

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    apply(stored());
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const name = NAMES[(NAMES.indexOf(stored()) + 1) % NAMES.length];
      try {
        localStorage.setItem("distcomp-theme", name);
      } catch {
        // Without storage it holds for this page.
      }
      apply(name);
    });
  });
})();
